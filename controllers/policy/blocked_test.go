package policy

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

func TestWhatKeepsAPodFromStartingIsTold(t *testing.T) {
	waits := func(reason, message string) verdict {
		return verdict{State: v1.StatePending, Condition: "Progressing", Reason: reason, Message: message, Attempt: 1,
			Events: []string{"Warning " + reason}}
	}
	withSecret := func(s *v1.ResNetTrainingJobSpec) {
		s.Storage.S3 = &v1.S3Spec{CredentialsSecret: &corev1.LocalObjectReference{Name: "s3"}}
	}
	unprepared := func(since time.Duration) Option[corev1.Pod] {
		return func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{
				{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: After(-since)},
				{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionFalse},
			}
			Waiting("ContainerCreating", "")(p)
		}
	}
	looks := func(again time.Duration, v verdict) verdict { v.RequeueAfter = again; return v }
	start := func(p corev1.Pod) Observation { return observed(Starting(1), Child(1), p) }
	const pull = `image "trainer:1" cannot be pulled; correct spec.image or spec.template.imagePullSecrets: `
	checkDecisions(t, map[string]row{
		"pulling": {start(Pod(corev1.PodPending, Waiting("ErrImagePull", "not found"))),
			waits("ImagePullFailed", pull+"not found")},
		"backing off": {start(Pod(corev1.PodPending,
			Waiting("ImagePullBackOff", `Back-off pulling image "trainer:1": ErrImagePull: not found`))),
			waits("ImagePullFailed", pull+"not found")},
		"never pulled": {start(Pod(corev1.PodPending, Waiting("ErrImageNeverPull", "not present with pull policy of Never"))),
			waits("ImagePullFailed", pull+"not present with pull policy of Never")},
		"not a name": {start(Pod(corev1.PodPending, Waiting("InvalidImageName", ""))),
			waits("ImagePullFailed", pull+"InvalidImageName")},
		"the kubelet's cache": {start(Pod(corev1.PodPending, Waiting("CreateContainerConfigError",
			"failed to sync secret cache: timed out waiting for the condition"))),
			verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated",
				Message: "attempt 1 created", Attempt: 1}},
		"the template's env": {
			start(Pod(corev1.PodPending, Waiting("CreateContainerConfigError", `configmap "c" not found`))),
			waits("PodConfigError", `the pod waits for something that spec.template names: configmap "c" not found`)},
		"the container": {start(Pod(corev1.PodPending, Waiting("CreateContainerError", "no such device"))),
			waits("PodConfigError", "the container cannot be created: no such device")},
		"no claim of that name": {start(Pod(corev1.PodPending, Unschedulable(`persistentvolumeclaim "data" not found`))),
			waits("Unschedulable", `no node fits the pod: persistentvolumeclaim "data" not found`)},
		"claims without a volume": {
			observed(With(Starting(1), func(s *v1.ResNetTrainingJobSpec) {
				s.Template = &v1.PodTemplate{Volumes: []v1.Volume{
					{Name: "tmp", EmptyDir: &corev1.EmptyDirVolumeSource{}},
					{Name: "m", PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "models"}},
					{Name: "disk", Ephemeral: &v1.EphemeralVolume{}}}}
			}), Child(1), Pod(corev1.PodPending, Unschedulable("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."))),
			waits("Unschedulable", "no node fits the pod: a claim has no volume: kubectl -n team describe pvc models net-1-0-disk; without "+
				"storageClassName it takes a default StorageClass: 0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.")},
		"the credentials": {
			observed(With(Starting(1), withSecret), Child(1),
				Pod(corev1.PodPending, Waiting("CreateContainerConfigError", `secret "s3" not found`))),
			waits("PodConfigError", `the pod waits for something that spec.storage.s3.credentialsSecret names: secret "s3" `+
				`not found`)},
		"a volume": {start(Pod(corev1.PodPending, unprepared(time.Minute))),
			looks(30*time.Second, waits("PodConfigError",
				"a volume or the network of the pod is not ready after 30s: kubectl -n team describe pod net-1-0"))},
		"a volume that nobody provides": {
			mountFails(start(Pod(corev1.PodPending, unprepared(time.Second))),
				`MountVolume.SetUp failed for volume "tls" : secret "ca" not found`),
			looks(time.Second, waits("PodConfigError",
				`the pod waits for something that spec.template.volumes names: MountVolume.SetUp failed for volume "tls" : `+
					`secret "ca" not found`))},
		"a volume of which a part is missing": {
			mountFails(start(Pod(corev1.PodPending, unprepared(time.Second))),
				`MountVolume.SetUp failed for volume "tls" : references non-existent secret key: ca.crt`),
			looks(time.Second, waits("PodConfigError",
				`the pod waits for something that spec.template.volumes names: MountVolume.SetUp failed for volume "tls" : `+
					`references non-existent secret key: ca.crt`))},
		"a volume that fails for long": {
			mountFails(start(Pod(corev1.PodPending, unprepared(time.Minute))),
				`MountVolume.SetUp failed for volume "data" : mount failed: exit status 32`),
			looks(30*time.Second, waits("PodConfigError",
				`a volume or the network of the pod is not ready after 30s: MountVolume.SetUp failed for volume "data" : mount `+
					`failed: exit status 32`))},
		"a volume that fails at first": {
			mountFails(start(Pod(corev1.PodPending, unprepared(10*time.Second))),
				`MountVolume.SetUp failed for volume "tls" : failed to sync secret cache: timed out waiting for the condition`),
			verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated", Message: "attempt 1 created",
				Attempt: 1, RequeueAfter: 6 * time.Second}},
		"a failure that is over": {
			mountFails(start(Pod(corev1.PodPending, Waiting("ContainerCreating", ""))),
				`MountVolume.SetUp failed for volume "tls" : secret "ca" not found`),
			verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated", Message: "attempt 1 created",
				Attempt: 1}},
		"a volume takes a while": {start(Pod(corev1.PodPending, unprepared(10*time.Second))),
			verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated", Message: "attempt 1 created",
				Attempt: 1, RequeueAfter: 6 * time.Second}},
		"a quota": {refusedAs(observed(Starting(1), Child(1)),
			`Error creating: pods "net-1-0-8xkpz" is forbidden: exceeded quota: team, requested: limits.cpu=2, used: `+
				`limits.cpu=7, limited: limits.cpu=8`),
			waits("PodRefused", "the pod cannot be created: exceeded quota: team, requested: limits.cpu=2, used: "+
				"limits.cpu=7, limited: limits.cpu=8")},
		"a quota that refuses the pod again and again": {
			refusedAs(observed(Starting(1), Child(1, TakenUp(5*time.Second))), "exceeded quota: team"),
			looks(3*time.Second, waits("PodRefused", "the pod cannot be created: exceeded quota: team"))},
		"no pod, and no word of why": {observed(Starting(1), Child(1, TakenUp(50*time.Second))),
			verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated", Message: "attempt 1 created",
				Attempt: 1, RequeueAfter: 10 * time.Second}},
		"no pod for long, and no word of why": {
			observed(Starting(1), Child(1, Created(-2*time.Minute), TakenUp(80*time.Second))),
			looks(10*time.Second, waits("PodRefused",
				"no pod was created; a quota or an admission rule may refuse it: kubectl -n team describe job net-1"))},
		"a pod that is not in the cache yet": {observed(Starting(1), Child(1, TakenUp(5*time.Second), HasPod)),
			verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated", Message: "attempt 1 created",
				Attempt: 1, RequeueAfter: time.Minute}},
		"a quota, for the eleventh time": {refusedAs(observed(Starting(1), Child(1)), "(combined from similar events): "+
			`Error creating: pods "net-1-0-8xkpz" is forbidden: exceeded quota: team`),
			waits("PodRefused", "the pod cannot be created: exceeded quota: team")},
		"a webhook": {refusedAs(observed(Starting(1), Child(1)),
			`Error creating: admission webhook "x" denied the request: no`),
			waits("PodRefused", `the pod cannot be created: admission webhook "x" denied the request: no`)},
		"gates, as a queue has": {start(Pod(corev1.PodPending, Gates)),
			verdict{State: v1.StateQueued, Condition: "Progressing", Reason: "Queued",
				Message: "the pod waits for its scheduling gates", Attempt: 1, Events: []string{"Normal Queued"}}},
		"gates do not fail a job": {
			observed(With(Starting(1), startWithin(60)), Child(1, Created(-time.Hour)), Pod(corev1.PodPending, Gates)),
			verdict{State: v1.StateQueued, Condition: "Progressing", Reason: "Queued",
				Message: "the pod waits for its scheduling gates", Attempt: 1, Events: []string{"Normal Queued"}}},
	})
}

// The scheduler words its message anew with every node and pod; the status follows once a minute.
func TestNewWordsForTheSameAreWrittenSeldom(t *testing.T) {
	job := InState(v1.StatePending, 1,
		metav1.Condition{Type: v1.ConditionProgressing, Status: metav1.ConditionFalse, Reason: v1.ReasonUnschedulable,
			Message: "no node fits the pod: 0/3 nodes: 3 Insufficient cpu"})
	o := observed(job, Child(1),
		Pod(corev1.PodPending, Unschedulable("0/3 nodes: 1 Insufficient memory, 2 Insufficient cpu")))
	for ago, want := range map[time.Duration]verdict{
		10 * time.Second: {State: v1.StatePending, Condition: "Progressing", Reason: "Unschedulable",
			Message: "no node fits the pod: 0/3 nodes: 3 Insufficient cpu", Attempt: 1, RequeueAfter: 50 * time.Second},
		time.Minute: {State: v1.StatePending, Condition: "Progressing", Reason: "Unschedulable",
			Message: "no node fits the pod: 0/3 nodes: 1 Insufficient memory, 2 Insufficient cpu", Attempt: 1},
	} {
		o.ConditionWritten = Now.Add(-ago)
		if diff := cmp.Diff(want, Decide(o, Now.Time).verdict("Progressing")); diff != "" {
			t.Errorf("%s after the last write, -want +got:\n%s", ago, diff)
		}
	}
}

func refusedAs(o Observation, message string) Observation {
	o.FailedCreate = message
	return o
}

func mountFails(o Observation, message string) Observation {
	o.FailedMount = message
	return o
}
