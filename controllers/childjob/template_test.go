package childjob

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

const platform = `
labels: {team: vision}
annotations: {example.com/note: hi}
nodeSelector: {pool: gpu}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [a]}]}]
tolerations: [{key: nvidia.com/gpu, operator: Exists}]
topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]
priorityClassName: low
runtimeClassName: nvidia
schedulerName: volcano
serviceAccountName: trainer
imagePullSecrets: [{name: registry}]
securityContext: {runAsUser: 1000, fsGroup: 2000, supplementalGroups: [3000]}
volumes:
  - {name: data, persistentVolumeClaim: {claimName: cifar}}
  - {name: shm, emptyDir: {medium: Memory}}
  - {name: disk, ephemeral: {size: 100Gi}}
volumeMounts:
  - {name: data, mountPath: /data, readOnly: true, subPath: v1}
  - {name: shm, mountPath: /dev/shm}
env: [{name: AWS_ROLE_ARN, value: arn}]
envFrom: [{secretRef: {name: more}}]
`

func TestTheTemplateIsMerged(t *testing.T) {
	job := newJob()
	if err := yaml.UnmarshalStrict([]byte("spec:\n  template:\n"+indent(platform)), job); err != nil {
		t.Fatal(err)
	}
	before := job.DeepCopy()
	bare := madeFor(t, newJob()).Spec.Template
	got := madeFor(t, job).Spec.Template

	want := bare.DeepCopy()
	want.Labels["team"] = "vision"
	want.Annotations["example.com/note"] = "hi"
	want.Annotations[AnnotationJob] = got.Annotations[AnnotationJob] // the spec travels whole
	s, c := &want.Spec, &want.Spec.Containers[0]
	s.NodeSelector = map[string]string{"pool": "gpu"}
	s.Affinity, s.TopologySpreadConstraints = job.Spec.Template.Affinity, job.Spec.Template.TopologySpreadConstraints
	gpu := corev1.Toleration{Key: "nvidia.com/gpu", Operator: corev1.TolerationOpExists}
	s.Tolerations = append([]corev1.Toleration{gpu}, s.Tolerations...)
	s.PriorityClassName, s.RuntimeClassName, s.SchedulerName, s.ServiceAccountName =
		"low", ptr.To("nvidia"), "volcano", "trainer"
	s.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "registry"}}
	s.SecurityContext.RunAsUser, s.SecurityContext.FSGroup, s.SecurityContext.SupplementalGroups =
		ptr.To[int64](1000), ptr.To[int64](2000), []int64{3000}
	s.Volumes = append(s.Volumes,
		corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "cifar"}}},
		corev1.Volume{Name: "shm", VolumeSource: corev1.VolumeSource{
			EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}},
		corev1.Volume{Name: "disk", VolumeSource: corev1.VolumeSource{
			Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{
				Spec: corev1.PersistentVolumeClaimSpec{
					AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
					Resources: corev1.VolumeResourceRequirements{
						Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("100Gi")}},
				}}}}})
	c.VolumeMounts = append(c.VolumeMounts,
		corev1.VolumeMount{Name: "data", MountPath: "/data", ReadOnly: true, SubPath: "v1"},
		corev1.VolumeMount{Name: "shm", MountPath: "/dev/shm"})
	c.Env = append([]corev1.EnvVar{{Name: "AWS_ROLE_ARN", Value: "arn"}}, c.Env...)
	c.EnvFrom = []corev1.EnvFromSource{
		{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "more"}}}}
	if diff := cmp.Diff(*want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(before, job); diff != "" {
		t.Errorf("the job itself was changed:\n%s", diff)
	}
	var travelled v1.ResNetTrainingJob
	if err := json.Unmarshal([]byte(got.Annotations[AnnotationJob]), &travelled); err != nil ||
		!cmp.Equal(travelled.Spec, job.Spec) {
		t.Errorf("the trainer does not get the spec that was written: %v", err)
	}
}

func TestTheOperatorHasTheLastWord(t *testing.T) {
	job := newJob() // past the CRD's rules, say by an older CRD
	job.Spec.Template = &v1.PodTemplate{
		Labels:      map[string]v1.LabelValue{LabelJobName: "other"},
		Annotations: map[string]v1.AnnotationValue{AnnotationJob: "{}"},
		Env:         []corev1.EnvVar{{Name: "RESNET_ATTEMPT", Value: "99"}},
	}
	got := madeFor(t, job).Spec.Template
	env := got.Spec.Containers[0].Env
	if got.Labels[LabelJobName] != "net" || got.Annotations[AnnotationJob] == "{}" || env[0].Value != "99" ||
		env[1].Value != "1" {
		t.Errorf("labels %v, env %v", got.Labels, env)
	}
}

// OpenShift assigns user and groups, unless the job names its own.
func TestThePlatformMayAssignTheUser(t *testing.T) {
	own := with(newJob(), func(s *v1.ResNetTrainingJobSpec) {
		s.Template = &v1.PodTemplate{SecurityContext: &v1.PodSecurityContext{RunAsUser: ptr.To[int64](1000)}}
	})
	for _, c := range []struct {
		job  *v1.ResNetTrainingJob
		user *int64
	}{{newJob(), nil}, {own, ptr.To[int64](1000)}} {
		child, err := Build(c.job, 1, Defaults{Image: "trainer", NoUser: true})
		if err != nil {
			t.Fatal(err)
		}
		s := child.Spec.Template.Spec.SecurityContext
		if !cmp.Equal(s.RunAsUser, c.user) || s.RunAsGroup != nil || s.FSGroup != nil || !*s.RunAsNonRoot {
			t.Errorf("security context %+v", s)
		}
	}
}

// The kubelet warns of each probe that fails, and a pod that reads its data has made no step yet.
func TestAHealthyPodHasTimeToReadItsData(t *testing.T) {
	probe := madeFor(t, newJob()).Spec.Template.Spec.Containers[0].ReadinessProbe
	if probe.InitialDelaySeconds < 10 {
		t.Errorf("it is probed after %d s", probe.InitialDelaySeconds)
	}
}

func TestThreadsFollowTheCPULimit(t *testing.T) {
	env := madeFor(t, newJob()).Spec.Template.Spec.Containers[0].Env
	i := slices.IndexFunc(env, func(e corev1.EnvVar) bool { return e.Name == "OMP_NUM_THREADS" })
	if i < 0 || env[i].ValueFrom.ResourceFieldRef.Resource != "limits.cpu" {
		t.Errorf("env %v", env)
	}
}

func TestALostNodeIsLeftSoon(t *testing.T) {
	taint := func(key string, seconds int64) corev1.Toleration {
		return corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute,
			TolerationSeconds: &seconds}
	}
	unreachable, notReady := taint(corev1.TaintNodeUnreachable, 60), taint(corev1.TaintNodeNotReady, 60)
	own := taint(corev1.TaintNodeUnreachable, 600)
	everything := corev1.Toleration{Operator: corev1.TolerationOpExists}
	for name, c := range map[string]struct{ theirs, want []corev1.Toleration }{
		"by default":           {nil, []corev1.Toleration{unreachable, notReady}},
		"unless they say more": {[]corev1.Toleration{own}, []corev1.Toleration{own, notReady}},
		"or tolerate all":      {[]corev1.Toleration{everything}, []corev1.Toleration{everything}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, tolerations(c.theirs)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestResources(t *testing.T) {
	quantity := func(s string) *resource.Quantity { q := resource.MustParse(s); return &q }
	for name, c := range map[string]struct {
		spec v1.ResourcesSpec
		want corev1.ResourceList
	}{
		"CPU": {v1.ResourcesSpec{CPU: quantity("2"), Memory: quantity("4Gi")},
			corev1.ResourceList{"cpu": *quantity("2"), "memory": *quantity("4Gi")}},
		"GPU":  {v1.ResourcesSpec{GPUs: 1}, corev1.ResourceList{"nvidia.com/gpu": *quantity("1")}},
		"GPUs": {v1.ResourcesSpec{GPUs: 8}, corev1.ResourceList{"nvidia.com/gpu": *quantity("8")}},
		"MIG": {v1.ResourcesSpec{GPUs: 1, GPUResource: "nvidia.com/mig-1g.10gb"},
			corev1.ResourceList{"nvidia.com/mig-1g.10gb": *quantity("1")}},
		"by a claim": {v1.ResourcesSpec{GPUs: 1, GPUResource: "nvidia.com/gpu",
			ResourceClaims: []v1.ResourceClaim{{Name: "gpu", ResourceClaimTemplateName: ptr.To("h100")}}},
			corev1.ResourceList{}},
		"disk": {v1.ResourcesSpec{EphemeralStorage: quantity("10Gi")},
			corev1.ResourceList{"ephemeral-storage": *quantity("10Gi")}},
	} {
		t.Run(name, func(t *testing.T) {
			job := with(newJob(), func(s *v1.ResNetTrainingJobSpec) { s.Resources = c.spec })
			pod := madeFor(t, job).Spec.Template.Spec
			r := pod.Containers[0].Resources
			if diff := cmp.Diff(c.want, r.Limits); diff != "" || !cmp.Equal(r.Limits, r.Requests) {
				t.Errorf("limits, and requests %v:\n%s", r.Requests, diff)
			}
			if len(c.spec.ResourceClaims) != len(pod.ResourceClaims) || len(r.Claims) != len(pod.ResourceClaims) {
				t.Errorf("claims %v of the pod, %v of the container", pod.ResourceClaims, r.Claims)
			}
		})
	}
}

func TestKeepLogs(t *testing.T) {
	for _, c := range []struct {
		keep *bool
		want corev1.TerminationMessagePolicy
	}{
		{nil, corev1.TerminationMessageFallbackToLogsOnError},
		{ptr.To(true), corev1.TerminationMessageFallbackToLogsOnError},
		{ptr.To(false), corev1.TerminationMessageReadFile},
	} {
		job := with(newJob(), func(s *v1.ResNetTrainingJobSpec) { s.KeepLogs = c.keep })
		if got := madeFor(t, job).Spec.Template.Spec.Containers[0].TerminationMessagePolicy; got != c.want {
			t.Errorf("keepLogs %v: %s", c.keep, got)
		}
	}
}

func TestFoldersMustBeMounted(t *testing.T) {
	claim := v1.Volume{Name: "v", PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "c"}}
	at := func(v v1.Volume, mounts ...v1.VolumeMount) *v1.PodTemplate {
		for i := range mounts {
			mounts[i].Name = "v"
		}
		return &v1.PodTemplate{Volumes: []v1.Volume{v}, VolumeMounts: mounts}
	}
	for name, c := range map[string]struct {
		uri      string
		template *v1.PodTemplate
		want     string
	}{
		"a bucket": {"s3://models", nil, ""},
		"no template": {"file:///models", nil,
			`spec.storage.uri: "file:///models" is a folder, and the pod has none there: use s3://, or mount a volume at or ` +
				`above it with spec.template.volumes and volumeMounts`},
		"at it":        {"file:///models", at(claim, v1.VolumeMount{MountPath: "/models"}), ""},
		"a slash more": {"file:///models/", at(claim, v1.VolumeMount{MountPath: "/models"}), ""},
		"above it":     {"file:///models/a/b", at(claim, v1.VolumeMount{MountPath: "/models"}), ""},
		"beside it": {"file:///models2", at(claim, v1.VolumeMount{MountPath: "/models"}),
			`spec.storage.uri: "file:///models2" is a folder, and the pod has none there: use s3://, or mount a volume at or ` +
				`above it with spec.template.volumes and volumeMounts`},
		"out of it": {"file:///models/../x", at(claim, v1.VolumeMount{MountPath: "/models"}),
			`spec.storage.uri: "file:///models/../x" is a folder, and the pod has none there: use s3://, or mount a volume at ` +
				`or above it with spec.template.volumes and volumeMounts`},
		"read-only": {"file:///models", at(claim, v1.VolumeMount{MountPath: "/models", ReadOnly: true}),
			`spec.storage.uri: "file:///models" is a folder, and its volume "v" is read-only`},
		"the inner counts": {"file:///a/b",
			at(claim, v1.VolumeMount{MountPath: "/a"}, v1.VolumeMount{MountPath: "/a/b", ReadOnly: true}),
			`spec.storage.uri: "file:///a/b" is a folder, and its volume "v" is read-only`},
		"an image": {"file:///models",
			at(v1.Volume{Name: "v", Image: &corev1.ImageVolumeSource{}}, v1.VolumeMount{MountPath: "/models"}),
			`spec.storage.uri: "file:///models" is a folder, and its volume "v" is read-only`},
		"goes with it": {"file:///models",
			at(v1.Volume{Name: "v", EmptyDir: &corev1.EmptyDirVolumeSource{}}, v1.VolumeMount{MountPath: "/models"}),
			`spec.storage.uri: "file:///models" is a folder, and its volume "v" goes with the pod: use a persistentVolumeClaim`},
	} {
		t.Run(name, func(t *testing.T) {
			spec := newJob().Spec
			spec.Storage.URI, spec.Template = c.uri, c.template
			if got := UnmountedFolder(spec); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
	spec := newJob().Spec
	spec.Template = at(v1.Volume{Name: "v", Image: &corev1.ImageVolumeSource{}}, v1.VolumeMount{MountPath: "/data"})
	spec.Dataset.URI, spec.ResumeFrom = "file:///data/cifar", &v1.ResumeFromSpec{URI: "file:///old/model.pt"}
	if got := UnmountedFolder(spec); got != `spec.resumeFrom.uri: "file:///old/model.pt" is a folder, and the pod has `+
		`none there: use s3://, or mount a volume at or above it with spec.template.volumes and volumeMounts` {
		t.Errorf("a data set may be read-only, a file to resume from must be mounted: got %q", got)
	}
}

func newJob() *v1.ResNetTrainingJob {
	return &v1.ResNetTrainingJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "net", UID: "u-1"},
		Spec: v1.ResNetTrainingJobSpec{
			Dataset: v1.DatasetSpec{Format: v1.Synthetic},
			Storage: v1.StorageSpec{URI: "s3://models"},
		},
	}
}

func with(job *v1.ResNetTrainingJob, change func(*v1.ResNetTrainingJobSpec)) *v1.ResNetTrainingJob {
	change(&job.Spec)
	return job
}

// madeFor is the child of the first attempt.
func madeFor(t *testing.T, job *v1.ResNetTrainingJob) *batchv1.Job {
	t.Helper()
	child, err := Build(job, 1, Defaults{Image: "trainer:default"})
	if err != nil {
		t.Fatal(err)
	}
	return child
}

func indent(text string) string {
	out := ""
	for line := range strings.Lines(text) {
		out += "    " + line
	}
	return out
}
