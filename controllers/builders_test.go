package controllers

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Builders of what decide observes. The job is team/net; its clock stands at now.

var (
	now     = metav1.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	earlier = metav1.NewTime(now.Add(-time.Hour))
)

func after(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(d)) }

type option[T any] func(*T)

func observed(job *v1.ResNetTrainingJob, parts ...any) observation {
	o := observation{job: job, attempt: job.Status.Attempt}
	for _, p := range parts {
		switch p := p.(type) {
		case *batchv1.Job:
			o.child = p
			if o.attempt == 0 {
				o.attempt = 1
			}
		case corev1.Pod:
			o.pods = append(o.pods, p)
		}
	}
	return o
}

func newJob() *v1.ResNetTrainingJob {
	return &v1.ResNetTrainingJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "net", UID: "u-1", Generation: 1},
		Spec: v1.ResNetTrainingJobSpec{
			Dataset:  v1.DatasetSpec{Format: v1.Synthetic},
			Storage:  v1.StorageSpec{URI: "s3://models"},
			Training: v1.TrainingSpec{Epochs: 20},
			Retry:    v1.RetrySpec{MaxFailures: 3, BackoffSeconds: ptr.To[int32](10)},
		},
	}
}

func inState(state v1.State, attempt int32, c metav1.Condition) *v1.ResNetTrainingJob {
	job := newJob()
	c.ObservedGeneration, c.LastTransitionTime = 1, now
	job.Status = v1.ResNetTrainingJobStatus{
		ObservedGeneration: 1, State: state, Attempt: attempt, StartTime: &earlier, AttemptStartTime: &earlier,
		Conditions: []metav1.Condition{c},
	}
	if c.Type == v1.ConditionProgressing {
		job.Status.ActiveSince = &earlier
	}
	return job
}

func starting(attempt int32) *v1.ResNetTrainingJob {
	return inState(v1.StateStarting, attempt, metav1.Condition{Type: v1.ConditionProgressing, Status: metav1.ConditionTrue, Reason: v1.ReasonAttemptCreated, Message: "attempt 1 created"})
}

func running(attempt int32, opts ...option[v1.ResNetTrainingJob]) *v1.ResNetTrainingJob {
	job := inState(v1.StateRunning, attempt, metav1.Condition{Type: v1.ConditionProgressing, Status: metav1.ConditionTrue, Reason: v1.ReasonTraining, Message: "trains"})
	job.Status.PodName = "net-1-0"
	for _, opt := range opts {
		opt(job)
	}
	return job
}

func restarting(attempt int32, wait time.Duration) *v1.ResNetTrainingJob {
	job := inState(v1.StateRestarting, attempt, metav1.Condition{Type: v1.ConditionProgressing, Status: metav1.ConditionTrue, Reason: v1.ReasonTrainerError, Message: "failed"})
	job.Status.Failures = 1
	job.Status.RetryTime = ptr.To(metav1.NewTime(now.Add(wait)))
	job.Status.Checkpoint = &v1.CheckpointStatus{Name: "c2"}
	return job
}

func suspended(attempt int32) *v1.ResNetTrainingJob {
	return inState(v1.StateSuspended, attempt, metav1.Condition{Type: v1.ConditionSuspended, Status: metav1.ConditionTrue, Reason: v1.ReasonSuspended})
}

func succeeded(attempt int32) *v1.ResNetTrainingJob {
	return inState(v1.StateSucceeded, attempt, metav1.Condition{Type: v1.ConditionComplete, Status: metav1.ConditionTrue, Reason: v1.ReasonSucceeded, Message: "done"})
}

func suspend(job *v1.ResNetTrainingJob) *v1.ResNetTrainingJob {
	job.Spec.Suspend = true
	return job
}

func onFolder(job *v1.ResNetTrainingJob) *v1.ResNetTrainingJob {
	job.Spec.Storage.URI = "file:///models"
	return job
}

func with(job *v1.ResNetTrainingJob, change func(*v1.ResNetTrainingJobSpec)) *v1.ResNetTrainingJob {
	change(&job.Spec)
	return job
}

func failures(n int32) option[v1.ResNetTrainingJob] {
	return func(job *v1.ResNetTrainingJob) { job.Status.Failures = n }
}

func child(attempt int32, opts ...option[batchv1.Job]) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: childName("net", attempt), UID: "c-1", CreationTimestamp: now}}
	for _, opt := range opts {
		opt(j)
	}
	return j
}

func created(ago time.Duration) option[batchv1.Job] {
	return func(j *batchv1.Job) { j.CreationTimestamp = metav1.NewTime(now.Add(ago)) }
}

func suspendedChild(j *batchv1.Job) { j.Spec.Suspend = ptr.To(true) }

// queued child: it has the label, and the Job controller has not said anything of it.
func queuedChild(j *batchv1.Job) { j.Labels = map[string]string{labelQueue: "team"} }

// jobSuspended is what the Job controller said last of spec.suspend, and when it changed.
func jobSuspended(status corev1.ConditionStatus, ago time.Duration) option[batchv1.Job] {
	return func(j *batchv1.Job) {
		j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: batchv1.JobSuspended, Status: status, LastTransitionTime: after(-ago)})
	}
}

func deletedChild(j *batchv1.Job) { j.DeletionTimestamp = &now }

func complete(j *batchv1.Job) {
	j.Status.CompletionTime = &now
	j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: batchv1.JobComplete, Status: corev1.ConditionTrue})
}

func pod(phase corev1.PodPhase, opts ...option[corev1.Pod]) corev1.Pod {
	p := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "net-1-0", CreationTimestamp: now},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: containerName, Resources: corev1.ResourceRequirements{
			Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("4Gi")}}}}},
		Status: corev1.PodStatus{Phase: phase, PodIP: "10.1.2.3"},
	}
	for _, opt := range opts {
		opt(&p)
	}
	return p
}

func condition(t corev1.PodConditionType, status corev1.ConditionStatus, reason, message string) option[corev1.Pod] {
	return func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: t, Status: status, Reason: reason, Message: message})
	}
}

func readyPod(p *corev1.Pod) { condition(corev1.PodReady, corev1.ConditionTrue, "", "")(p) }

func readyNow(p *corev1.Pod) {
	readyPod(p)
	p.Status.Conditions[0].LastTransitionTime = now
}

func unschedulable(message string) option[corev1.Pod] {
	return condition(corev1.PodScheduled, corev1.ConditionFalse, corev1.PodReasonUnschedulable, message)
}

func disrupted(reason string) option[corev1.Pod] {
	return condition(corev1.DisruptionTarget, corev1.ConditionTrue, reason, "")
}

// called names the pod.
func called(name string) option[corev1.Pod] { return func(p *corev1.Pod) { p.Name = name } }

// trainerRuns since that time, beside containers of others that do as well.
func trainerRuns(since time.Duration, beside ...string) option[corev1.Pod] {
	return func(p *corev1.Pod) {
		container(corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: after(-since)}})(p)
		sidecars(beside...)(p)
	}
}

// sidecars are containers that were put before ours, and run.
func sidecars(names ...string) option[corev1.Pod] {
	return func(p *corev1.Pod) {
		for _, name := range names {
			p.Spec.Containers = append([]corev1.Container{{Name: name, Resources: corev1.ResourceRequirements{
				Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}}}}, p.Spec.Containers...)
			p.Status.ContainerStatuses = append([]corev1.ContainerStatus{
				{Name: name, Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}, p.Status.ContainerStatuses...)
		}
	}
}

var gates = condition(corev1.PodScheduled, corev1.ConditionFalse, corev1.PodReasonSchedulingGated, "")

func notReady(since time.Duration) option[corev1.Pod] {
	return func(p *corev1.Pod) {
		condition(corev1.PodReady, corev1.ConditionFalse, "", "")(p)
		p.Status.Conditions[len(p.Status.Conditions)-1].LastTransitionTime = after(-since)
	}
}

func deletedPod(in time.Duration) option[corev1.Pod] {
	return func(p *corev1.Pod) { p.DeletionTimestamp = ptr.To(metav1.NewTime(now.Add(in))) }
}

func container(state corev1.ContainerState) option[corev1.Pod] {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: containerName, Image: "trainer:1", State: state}}
	}
}

func waiting(reason, message string) option[corev1.Pod] {
	return container(corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}})
}

// exited ends with the trainer's own words.
func exited(word contract.Termination) option[corev1.Pod] {
	return killed("", int32(word.ExitCode), string(word.Marshal()))
}

func killed(reason string, code int32, message string) option[corev1.Pod] {
	return container(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: reason, ExitCode: code, Message: message}})
}
