package integration

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// everything that a template can hold; indented to stand below spec.
const everything = `
  resources:
    gpus: 1
    gpuResource: nvidia.com/mig-1g.10gb
    ephemeralStorage: 1Gi
    resourceClaims: [{name: gpu, resourceClaimTemplateName: h100}]
  template:
    labels: {team: vision, example.com/cost-centre: "42"}
    annotations: {example.com/Note: "hi there", sidecar.istio.io/inject: "false"}
    nodeSelector: {pool: gpu}
    affinity:
      nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [a]}]}]}}
      podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {team: vision}}}}]}
    tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]
    topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {team: vision}}}]
    priorityClassName: NS
    runtimeClassName: NS
    schedulerName: volcano
    serviceAccountName: trainer
    imagePullSecrets: [{name: registry}]
    securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 1000, fsGroupChangePolicy: OnRootMismatch, supplementalGroups: [2000]}
    volumes:
      - {name: data, persistentVolumeClaim: {claimName: cifar, readOnly: true}}
      - {name: shm, emptyDir: {medium: Memory, sizeLimit: 1Gi}}
      - {name: disk, ephemeral: {size: 10Gi, storageClassName: fast}}
      - {name: oci, image: {reference: "registry/cifar:1", pullPolicy: IfNotPresent}}
      - {name: conf, configMap: {name: c, items: [{key: k, path: p}]}}
      - {name: key, secret: {secretName: s}}
      - {name: vault, csi: {driver: secrets-store.csi.k8s.io, readOnly: true}}
    volumeMounts:
      - {name: data, mountPath: /data, subPath: v1, readOnly: true}
      - {name: shm, mountPath: /dev/shm}
      - {name: disk, mountPath: /mnt/disk}
      - {name: oci, mountPath: /oci}
      - {name: conf, mountPath: /etc/conf}
      - {name: key, mountPath: /key}
      - {name: vault, mountPath: /vault}
    env: [{name: A, value: "1"}, {name: B, valueFrom: {secretKeyRef: {name: s, key: k, optional: true}}}]
    envFrom: [{configMapRef: {name: c}}, {secretRef: {name: s}, prefix: X_}]
`

// restrictedPods: the pods of a bare and of a full spec are taken by a namespace that enforces the restricted standard,
// made by the real Job controller.
func restrictedPods(t *testing.T) {
	for name, more := range map[string]string{"bare": "", "with everything": everything} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.enforceRestricted()
			e.createJob(jobYAML + strings.ReplaceAll(more, "NS", e.ns))
			pod := e.realPod("1")
			checkSecurity(t, pod.Spec)
			if more != "" {
				e.Expect(pod.Spec.Volumes).To(HaveLen(9))
				e.Expect(pod.Spec.Containers[0].VolumeMounts).To(HaveLen(9))
				e.Expect(pod.Labels).To(HaveKeyWithValue("team", "vision"))
				e.Expect(pod.Spec.Tolerations).To(ContainElement(HaveField("TolerationSeconds", HaveValue(Equal(int64(60))))))
				e.Expect(pod.Spec.Containers[0].Resources.Limits).NotTo(HaveKey(corev1.ResourceName("nvidia.com/mig-1g.10gb")), "the claim brings the GPU")
			}
		})
	}
}

// enforceRestricted also makes what the full template names.
func (e *env) enforceRestricted() {
	e.t.Helper()
	ns := &corev1.Namespace{}
	e.Expect(kube.Get(e.ctx, client.ObjectKey{Name: e.ns}, ns)).To(Succeed())
	ns.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
	e.Expect(kube.Update(e.ctx, ns)).To(Succeed())
	root := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "root"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	e.Eventually(func() bool { return apierrors.IsForbidden(kube.Create(e.ctx, root.DeepCopy(), client.DryRunAll)) }).Should(BeTrue(), "the standard is enforced")

	for _, o := range []client.Object{
		&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: e.ns}, Value: 1},
		&nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: e.ns}, Handler: "runc"},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "trainer"}},
	} {
		e.Expect(kube.Create(e.ctx, o)).To(Succeed())
	}
}

func TestFoldersNeedAMount(t *testing.T) {
	e := newEnv(t)
	e.startManager()
	e.createJob(strings.Replace(jobYAML, "s3://models", "file:///models", 1))
	got := e.eventuallyState(v1.StateFailed)
	e.Expect(messageOf(got, v1.ConditionFailed)).To(Equal(
		`spec.storage.uri: "file:///models" is a folder, and the pod has none there: use s3://, or mount a volume at or above it with spec.template.volumes and volumeMounts`))
	e.Expect(e.children()).To(BeEmpty())

	e = newEnv(t) // the manager works for all namespaces
	e.createJob(strings.Replace(jobYAML, "s3://models", "file:///models/a", 1) + `
  template: {volumes: [{name: v, persistentVolumeClaim: {claimName: models}}], volumeMounts: [{name: v, mountPath: /models}]}
`)
	e.child("net-1")
}

func TestTheLogOfACrashIsInTheMessage(t *testing.T) {
	e := newEnv(t)
	e.startManager()
	e.createJob(jobYAML)
	e.podStatus(e.createPod(e.child("net-1")), func(s *corev1.PodStatus) {
		ended(corev1.PodFailed, contract.Termination{})(s)
		s.ContainerStatuses[0].State.Terminated.ExitCode = 134
		s.ContainerStatuses[0].State.Terminated.Message = "epoch 1\nAWS_SECRET_ACCESS_KEY=hunter2\nterminate called after throwing an instance of 'c10::Error'\n  what():  out of luck, AWS_SECRET_ACCESS_KEY=hunter2\n"
	})
	got := e.eventuallyState(v1.StateRestarting)
	e.Expect(messageOf(got, v1.ConditionProgressing)).To(Equal(
		"attempt 1 failed, the next one begins in 10s: exit code 134 (aborted): terminate called after throwing an instance of 'c10::Error' | what(): out of luck, AWS_SECRET_ACCESS_KEY=[redacted]"))
	e.Expect(got.Spec.KeepLogs).To(Equal(ptr.To(true)))
}
