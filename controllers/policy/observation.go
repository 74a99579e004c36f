package policy

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/api/manifest"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// Observation is all that Decide looks at.
type Observation struct {
	Job *v1.ResNetTrainingJob
	// Attempt is the number of the newest attempt that exists, or did as far as this manager or the status knows; 0 before
	// the first. The status may be one behind.
	Attempt int32
	// Child is the Job of that attempt; nil if there is none.
	Child *batchv1.Job
	// Pods of the child; what is left of them, if it was deleted.
	Pods []corev1.Pod
	// Gone are pods of an attempt of several that are no more, as this manager last saw them: they had ended.
	Gone []corev1.Pod
	// DeactivatedWorkload is Kueue's Workload of the child if it was taken out of its queue for good; "" if not.
	DeactivatedWorkload string
	// FailedCreate is the Job controller's newest event of that reason, by which it could not create a pod; "" for none,
	// or if it was not asked for.
	FailedCreate string
	// FailedMount is the kubelet's newest event of that reason about the pod; "" for none, or if it was not asked for.
	FailedMount string
	// Denied is what kept the decision that was made on the rest of this from being applied.
	Denied Denied
	// FollowedPod is the pod whose trainer this manager has asked for its progress; "" if it did not ask any of this
	// attempt.
	FollowedPod string
	// Progress last pulled from the trainer of that attempt; nil if none was.
	Progress *contract.Progress
	// Advanced is when that trainer last made a step or began a new phase, or when this manager began to ask it; zero if
	// it did not.
	Advanced time.Time
	// Answered is when that trainer last answered; zero if it did not.
	Answered time.Time
	// HeldSince is when this manager first put off the write of a status that is still not written; zero if it did not.
	HeldSince time.Time
	// WriteLatency is how long the API server lately took to write a status.
	WriteLatency time.Duration
	// ConditionWritten is when this manager last wrote another message of the condition Progressing; zero if it never did.
	ConditionWritten time.Time
	// ProgressWritten is when progress was last written to the status; zero if this manager never did.
	ProgressWritten time.Time
	// LossDue is true when the loss of the current epoch is worth a write of its own.
	LossDue bool
}

// Denied is what the API server does not let the manager do, until somebody acts; all empty if nothing is.
type Denied struct {
	// Create: why the child cannot be created.
	Create string
	// Delete: why a child cannot be deleted. Nothing that should have come after it was done.
	Delete string
	// NameInUse: a Job of the child's name is about to go; nobody has to act.
	NameInUse string
}

// RanIn is the name of the pod in which the trainer of the attempt has run; "" if that is not known of any.
func (o Observation) RanIn() string {
	if o.Attempt != o.Job.Status.Attempt { // the status does not know of it yet
		return o.FollowedPod
	}
	return cmp.Or(o.Job.Status.PodName, o.FollowedPod)
}

// distributed is true for a job of several pods.
func (o Observation) distributed() bool { return o.Job.Spec.Pods() > 1 }

// Pod is the one of rank 0, which alone tells of the training: the one that its trainer has run in, and no other. Before
// that, the newest; nil if there is none.
func (o Observation) Pod() *corev1.Pod {
	pods := o.podsOf(0)
	if name := o.RanIn(); name != "" {
		i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return p.Name == name })
		if i < 0 {
			return nil
		}
		return &pods[i]
	}
	ran := func(p corev1.Pod) bool { yes, _ := childjob.TrainerStarted(&p); return yes }
	if i := slices.IndexFunc(pods, ran); i >= 0 {
		return &pods[i]
	}
	return childjob.Newest(pods)
}

// podsOf an index of the child Job.
func (o Observation) podsOf(index int) []corev1.Pod {
	if !o.distributed() {
		return o.Pods
	}
	return slices.DeleteFunc(o.known(), func(p corev1.Pod) bool { return childjob.Index(&p) != index })
}

// known pods of an attempt of several.
func (o Observation) known() []corev1.Pod { return slices.Concat(o.Pods, o.Gone) }

// podsByIndex are the pods of an attempt in the order of their indices: of each the one that counts.
func (o Observation) podsByIndex() (pods []*corev1.Pod) {
	if pod := o.Pod(); !o.distributed() {
		if pod == nil {
			return nil
		}
		return []*corev1.Pod{pod}
	}
	of := make([][]corev1.Pod, o.Job.Spec.Pods())
	for _, p := range o.known() {
		if index := childjob.Index(&p); index >= 0 && index < len(of) {
			of[index] = append(of[index], p)
		}
	}
	for _, same := range of {
		if pod := childjob.Newest(same); pod != nil {
			pods = append(pods, pod)
		}
	}
	return pods
}

// Edited is true if the job no longer asks for the pod, or the place in a queue, that the child was made for.
func (o Observation) Edited() bool {
	for _, label := range []string{childjob.LabelQueue, childjob.LabelPriority} {
		if want := o.Job.Labels[label]; want != "" && want != o.Child.Labels[label] {
			return true
		}
	}
	made := &v1.ResNetTrainingJob{}
	payload := o.Child.Spec.Template.Annotations[childjob.AnnotationJob]
	if payload == "" || json.Unmarshal([]byte(payload), made) != nil {
		return false
	}
	return !samePod(made, o.Job) && !samePod(defaulted(made), defaulted(o.Job))
}

// samePod is true if two jobs ask for the same pod.
func samePod(a, b *v1.ResNetTrainingJob) bool {
	pod := func(s v1.ResNetTrainingJobSpec) v1.ResNetTrainingJobSpec {
		return v1.ResNetTrainingJobSpec{
			Image: s.Image, ImagePullPolicy: s.ImagePullPolicy, Resources: s.Resources, Template: s.Template,
		}
	}
	return equality.Semantic.DeepEqual(pod(a.Spec), pod(b.Spec))
}

// defaulted is a job with the defaults of this release: a child that an earlier one made lacks those that are newer,
// and so does a job that is read through an older CustomResourceDefinition. Nobody edited them.
func defaulted(job *v1.ResNetTrainingJob) *v1.ResNetTrainingJob {
	if d, err := manifest.Default(job); err == nil {
		return d
	}
	return job
}

// allLost is true if there are pods and none of them will be heard of again.
func (o Observation) allLost(now time.Time) bool {
	return len(o.Pods) > 0 && !slices.ContainsFunc(o.Pods, func(p corev1.Pod) bool { return !childjob.Lost(&p, now) })
}

// childLive is true for a child that has a pod which works, or would get one.
func (o Observation) childLive() bool {
	for _, t := range []batchv1.JobConditionType{batchv1.JobComplete, batchv1.JobFailed, batchv1.JobFailureTarget} {
		if childjob.JobHas(o.Child, t) {
			return false
		}
	}
	if childjob.Suspended(o.Child) {
		return true
	}
	if o.distributed() { // the Job controller ends it with the first pod that fails
		failed := func(p corev1.Pod) bool { return childjob.PodEnded(&p) && !childjob.Succeeded(&p) }
		return !slices.ContainsFunc(o.Pods, failed)
	}
	pod := o.Pod()
	return pod == nil || !childjob.PodEnded(pod)
}

// releasedAt is when nothing but the cluster kept an attempt from starting: its Job was created, or left a queue. Until
// the Job controller has taken up a Job that is suspended no more, that is now.
func (o Observation) releasedAt(now time.Time) time.Time {
	since := o.Job.Status.ActiveStartTime // its clock stands in a queue as well, also in that of a scheduling gate
	if since == nil {
		return now
	}
	released := latest(since.Time, o.Child.CreationTimestamp.Time)
	taken := false
	for _, c := range o.Child.Status.Conditions {
		if c.Type == batchv1.JobSuspended && c.Status == corev1.ConditionTrue {
			return now
		}
		if c.Type == batchv1.JobSuspended {
			released, taken = latest(released, c.LastTransitionTime.Time), true
		}
	}
	if t := o.Child.Status.StartTime; t != nil {
		released, taken = latest(released, t.Time), true
	}
	if madeSuspended := o.Child.Labels[childjob.LabelQueue] != ""; madeSuspended && !taken {
		return now
	}
	return released
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
