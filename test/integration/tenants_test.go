package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// tenantJob is what the lists of config/tenants allow.
const tenantJob = `
apiVersion: training.resnet-operator.dev/v1
kind: ResNetTrainingJob
metadata: {name: net, labels: {kueue.x-k8s.io/queue-name: team}}
spec:
  dataset: {format: FashionMNIST, uri: s3://datasets/fashion-mnist}
  storage:
    uri: s3://models
    s3: {endpoint: "http://minio.minio:9000", credentialsSecret: {name: s3-credentials}}
  resources: {gpus: 1}
  template:
    volumes: [{name: shm, emptyDir: {medium: Memory}}]
    volumeMounts: [{name: shm, mountPath: /dev/shm}]
    tolerations: [{key: nvidia.com/gpu, operator: Exists}]
`

// tenants installs the policy for the namespace of the test alone, with the overlay of docs/security.md, and returns a
// client of a user who may do with ResNetTrainingJobs what the role for it allows, and nothing else.
func (e *env) tenants() client.Client {
	e.t.Helper()
	e.Expect(client.IgnoreAlreadyExists(kube.Create(e.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "resnet-operator"}}))).To(Succeed())
	text, err := os.ReadFile("../../docs/security.md")
	e.Expect(err).NotTo(HaveOccurred())
	_, after, _ := strings.Cut(string(text), "```yaml\n# kustomization.yaml\n")
	overlay, _, found := strings.Cut(after, "```")
	e.Expect(found).To(BeTrue(), "docs/security.md shows an overlay")
	e.install(e.render(strings.NewReplacer("https://…/config", "CONFIG", "vision", e.ns).Replace(overlay)))
	e.install(e.render("resources: [CONFIG/rbac]\nnamespace: " + e.ns + "\n"))
	e.Expect(kube.Create(e.ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "tenant"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "resnet-operator-edit"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: e.ns + "-tenant"}},
	})).To(Succeed())
	cfg := rest.CopyConfig(config)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: e.ns + "-tenant", Groups: []string{"system:authenticated"}}
	tenant, err := client.New(cfg, client.Options{Scheme: scheme.Scheme})
	e.Expect(err).NotTo(HaveOccurred())
	e.Eventually(func() error {
		return tenant.Create(e.ctx, e.changed(`{spec: {image: "evil:1"}}`), client.DryRunAll)
	}).WithTimeout(30*time.Second).Should(MatchError(ContainSubstring("does not allow")), "the policy counts")
	return tenant
}

// changed is tenantJob with a document laid over it.
func (e *env) changed(patch string) *v1.ResNetTrainingJob {
	e.t.Helper()
	var job, change map[string]any
	e.Expect(yaml.Unmarshal([]byte(tenantJob), &job)).To(Succeed())
	e.Expect(yaml.Unmarshal([]byte(patch), &change)).To(Succeed())
	lay(change, job)
	text, err := yaml.Marshal(job)
	e.Expect(err).NotTo(HaveOccurred())
	parsed := parse(e.t, string(text))
	parsed.Namespace = e.ns
	return parsed
}

// What a pod could use, a tenant cannot.
func TestTenantsDoNotEscape(t *testing.T) {
	e := newEnv(t)
	tenant := e.tenants()
	for name, escape := range map[string]struct{ patch, refused string }{
		"an image":                   {`{spec: {image: "evil:1"}}`, "images evil:1"},
		"a ServiceAccount":           {`{spec: {template: {serviceAccountName: admin}}}`, "serviceAccounts admin"},
		"a token at its usual place": {`{spec: {template: {volumes: [{name: t, secret: {secretName: admin-token}}], volumeMounts: [{name: t, mountPath: /var/run/secrets/kubernetes.io/serviceaccount}]}}}`, "secrets admin-token"},
		"a Secret as credentials":    {`{spec: {storage: {s3: {credentialsSecret: {name: database}}}}}`, "secrets database"},
		"a Secret as a variable":     {`{spec: {template: {env: [{name: AWS_PROFILE, valueFrom: {secretKeyRef: {name: database, key: password}}}]}}}`, "secrets database"},
		"a Secret as all variables":  {`{spec: {template: {envFrom: [{secretRef: {name: database}}]}}}`, "secrets database, env *"},
		"a ConfigMap's variables":    {`{spec: {template: {envFrom: [{prefix: LD_, configMapRef: {name: mine}}]}}}`, "configMaps mine, env LD_*"},
		"a Secret for pulls":         {`{spec: {template: {imagePullSecrets: [{name: registry}]}}}`, "secrets registry"},
		"an endpoint of one's own":   {`{spec: {storage: {s3: {endpoint: "http://evil.example.com"}}}}`, "endpoints http://evil.example.com"},
		"AWS by default":             {`{spec: {storage: {s3: {endpoint: null}}}}`, "endpoints AWS"},
		"a bucket to write to":       {`{spec: {storage: {uri: "s3://backups"}}}`, "storage s3://backups"},
		"data of a neighbour":        {`{spec: {dataset: {uri: "s3://datasets-private/x"}}}`, "data s3://datasets-private/x"},
		"a site":                     {`{spec: {dataset: {uri: "http://intranet/x"}}}`, "data http://intranet/x"},
		"a folder above":             {`{spec: {dataset: {uri: "s3://datasets/../private"}}}`, "must not hold .."},
		"a folder above, escaped":    {`{spec: {dataset: {uri: "s3://datasets/%2E%2e/private"}}}`, "must not hold .."},
		"another's weights":          {`{spec: {resumeFrom: {uri: "s3://models/other/net/uid"}}}`, "data s3://models/other/net/uid"},
		"a library":                  {`{spec: {template: {env: [{name: LD_PRELOAD, value: /scratch/x.so}]}}}`, "env LD_PRELOAD"},
		"a priority":                 {`{spec: {template: {priorityClassName: urgent}}}`, "priorityClasses urgent"},
		"a priority in the queue":    {`{metadata: {labels: {kueue.x-k8s.io/priority-class: urgent}}}`, "priorityClasses urgent"},
		"a claim":                    {`{spec: {template: {volumes: [{name: shm, persistentVolumeClaim: {claimName: database}}]}}}`, "volumes persistentVolumeClaim/database"},
		"a CSI driver":               {`{spec: {template: {volumes: [{name: shm, csi: {driver: secrets-store.csi.k8s.io, nodePublishSecretRef: {name: vault}}}]}}}`, "secrets vault, volumes csi/secrets-store.csi.k8s.io"},
		"an image volume":            {`{spec: {template: {volumes: [{name: shm, image: {reference: "private:1"}}]}}}`, "volumes image/private:1"},
		"a storage class":            {`{spec: {template: {volumes: [{name: shm, ephemeral: {storageClassName: gold, size: 1Ti}}]}}}`, "volumes ephemeral/gold"},
		"a device":                   {`{spec: {resources: {gpuResource: devices.kubevirt.io/kvm}}}`, "devices devices.kubevirt.io/kvm"},
		"a claim to a device":        {`{spec: {resources: {resourceClaims: [{name: c, resourceClaimName: admin}]}}}`, "devices claim/admin"},
		"any node":                   {`{spec: {template: {tolerations: [{operator: Exists}]}}}`, "tolerations *"},
		"a control plane":            {`{spec: {template: {tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists}]}}}`, "tolerations node-role.kubernetes.io/control-plane"},
		"a runtime":                  {`{spec: {template: {runtimeClassName: unconfined}}}`, "runtimeClasses unconfined"},
		"a scheduler":                {`{spec: {template: {schedulerName: mine}}}`, "schedulers mine"},
		"another's user":             {`{spec: {template: {securityContext: {runAsUser: 1000, supplementalGroups: [2000]}}}}`, "ids 1000, ids 2000"},
		"a role of the cloud":        {`{spec: {template: {annotations: {iam.amazonaws.com/role: admin}}}}`, "annotations iam.amazonaws.com/role"},
		"a network":                  {`{spec: {template: {labels: {access: database}}}}`, "labels access"},
		"nobody beside me": {`{spec: {template: {affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, namespaceSelector: {}}]}}}}}`,
			"pods in other namespaces"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tenant.Create(t.Context(), e.changed(escape.patch), client.DryRunAll)
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), escape.refused) {
				t.Errorf("got %v, want %q", err, escape.refused)
			}
		})
	}
}

// Nor by an edit, nor past ResNetTrainingJobs.
func TestTenantsDoNotEscapeLater(t *testing.T) {
	e := newEnv(t)
	tenant := e.tenants()
	job := e.changed(`{}`)
	e.Expect(tenant.Create(e.ctx, job)).To(Succeed(), "what is allowed is")
	for _, patch := range []string{
		`{"spec": {"image": "evil:1"}}`,
		`{"spec": {"template": {"serviceAccountName": "admin"}}}`,
		`{"metadata": {"labels": {"kueue.x-k8s.io/priority-class": "urgent"}}}`,
	} {
		err := tenant.Patch(e.ctx, job.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(patch)))
		e.Expect(err).To(MatchError(ContainSubstring("does not allow")), patch)
	}
	e.Expect(tenant.Create(e.ctx, e.anyJob())).To(MatchError(apierrors.IsForbidden, "a Job"))
	pod := e.anyJob().Spec.Template
	e.Expect(tenant.Create(e.ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "p"}, Spec: pod.Spec})).To(MatchError(apierrors.IsForbidden, "a pod"))
	allowed := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "resnet-operator", Name: "resnet-operator-tenants"}}
	e.Expect(tenant.Delete(e.ctx, allowed)).To(MatchError(apierrors.IsForbidden, "the lists"))
	job.Status.Attempt = 7
	e.Expect(tenant.Status().Update(e.ctx, job)).To(MatchError(apierrors.IsForbidden, "the status"))

	stopped := e.changed(`{metadata: {name: old}, spec: {image: "evil:1"}}`)
	e.Expect(kube.Create(e.ctx, stopped)).To(MatchError(ContainSubstring("does not allow")), "an administrator's job is one of the namespace too")
}

// A job from before the policy can be stopped and deleted, and goes on when it uses what is allowed.
func TestJobsOfBeforeThePolicyCanBeStopped(t *testing.T) {
	e := newEnv(t)
	old := e.changed(`{spec: {image: "evil:1"}}`)
	e.Expect(kube.Create(e.ctx, old)).To(Succeed())
	tenant := e.tenants()
	patch := func(text string) error {
		return tenant.Patch(e.ctx, old.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(text)))
	}
	e.Expect(patch(`{"metadata": {"annotations": {"note": "hi"}}}`)).To(Succeed())
	e.Expect(patch(`{"spec": {"suspend": true}}`)).To(Succeed())
	e.Expect(patch(`{"spec": {"suspend": false}}`)).To(MatchError(ContainSubstring("images evil:1")))
	e.Expect(patch(`{"spec": {"suspend": false, "image": null}}`)).To(Succeed())
	e.Expect(tenant.Delete(e.ctx, old)).To(Succeed())
}

// Without its lists the policy lets nothing pass.
func TestWithoutListsNothingIsAllowed(t *testing.T) {
	e := newEnv(t)
	tenant := e.tenants()
	lists := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "resnet-operator", Name: "resnet-operator-tenants"}}
	e.Expect(kube.Patch(e.ctx, lists, client.RawPatch("application/merge-patch+json", []byte(`{"data": null}`)))).To(Succeed())
	all := []string{"secrets s3-credentials", "endpoints http://minio.minio:9000", "storage s3://models", "data s3://datasets/fashion-mnist", "volumes emptyDir/Memory", "devices nvidia.com/gpu", "tolerations nvidia.com/gpu"}
	e.Eventually(func() string {
		return fmt.Sprint(tenant.Create(e.ctx, e.changed(`{}`), client.DryRunAll))
	}).Should(ContainSubstring(strings.Join(all, ", ")))
	e.Expect(kube.Delete(e.ctx, lists)).To(Succeed())
	e.Eventually(func() string {
		return fmt.Sprint(tenant.Create(e.ctx, e.changed(`{}`), client.DryRunAll))
	}).Should(ContainSubstring("no params found"))
}
