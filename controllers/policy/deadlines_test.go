package policy

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

func startWithin(n int32) func(*v1.ResNetTrainingJobSpec) {
	return func(s *v1.ResNetTrainingJobSpec) { s.StartDeadlineSeconds = &n }
}

func activeFor(n int64) func(*v1.ResNetTrainingJobSpec) {
	return func(s *v1.ResNetTrainingJobSpec) { s.ActiveDeadlineSeconds = &n }
}

func progressWithin(n int32) func(*v1.ResNetTrainingJobSpec) {
	return func(s *v1.ResNetTrainingJobSpec) { s.ProgressDeadlineSeconds = &n }
}

func TestStartDeadline(t *testing.T) {
	checkDecisions(t, map[string]row{
		"before it": {
			o: observed(With(Starting(1), startWithin(60)), Child(1, Created(-50*time.Second)),
				Pod(corev1.PodPending, Unschedulable("0/3"))),
			want: verdict{State: v1.StatePending, Condition: "Progressing", Reason: "Unschedulable",
				Message: "no node fits the pod: 0/3",
				Attempt: 1, Events: []string{"Warning Unschedulable"}, RequeueAfter: 10 * time.Second},
		},
		"no node in time": {
			o: observed(With(Starting(1), startWithin(60)), Child(1, Created(-60*time.Second)),
				Pod(corev1.PodPending, Unschedulable("0/3"))),
			want: verdict{State: v1.StateFailed, Condition: "Failed", Reason: "StartDeadlineExceeded",
				Message: "no pod ran within spec.startDeadlineSeconds of 60: no node fits the pod: 0/3",
				Attempt: 1, Delete: []string{"net-1"}, Events: []string{"Warning StartDeadlineExceeded"}},
		},
		"no pod in time": {
			o: observed(With(Starting(1), startWithin(60)), Child(1, Created(-2*time.Minute))),
			want: verdict{State: v1.StateFailed, Condition: "Failed", Reason: "StartDeadlineExceeded",
				Message: "no pod ran within spec.startDeadlineSeconds of 60: no pod was created; a quota or an admission rule " +
					"may refuse it: kubectl -n team describe job net-1",
				Attempt: 1, Delete: []string{"net-1"}, Events: []string{"Warning StartDeadlineExceeded"}},
		},
		"time in a queue does not count": {
			o: observed(With(Starting(1), startWithin(60)), Child(1, Created(-time.Hour), TakenUp(20*time.Second)),
				Pod(corev1.PodPending)),
			want: verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated",
				Message: "attempt 1 created",
				Attempt: 1, RequeueAfter: 40 * time.Second},
		},
		"it begins when the Job controller sees that the queue has released the Job": {
			o: observed(With(queuedJob(), startWithin(60)),
				Child(1, Created(-time.Hour), QueuedChild, JobSuspended(corev1.ConditionTrue, time.Hour))),
			want: verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated",
				Message: "waits for its pod",
				Attempt: 1, RequeueAfter: time.Minute},
		},
		"the same after a restart of the manager": {
			o: observed(With(Starting(1), startWithin(60)),
				Child(1, Created(-time.Hour), QueuedChild, JobSuspended(corev1.ConditionTrue, time.Hour))),
			want: verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated",
				Message: "attempt 1 created",
				Attempt: 1, RequeueAfter: time.Minute},
		},
		"released before the Job controller ever looked": {
			o: observed(With(Starting(1), startWithin(60)), Child(1, Created(-time.Hour), QueuedChild)),
			want: verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated",
				Message: "attempt 1 created",
				Attempt: 1, RequeueAfter: time.Minute},
		},
		"it begins with the release": {
			o: observed(With(Starting(1), startWithin(60)),
				Child(1, Created(-time.Hour), QueuedChild, JobSuspended(corev1.ConditionFalse, 20*time.Second))),
			want: verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated",
				Message: "attempt 1 created",
				Attempt: 1, RequeueAfter: 40 * time.Second},
		},
		"a Job that was suspended again and released again": {
			o: observed(With(Starting(1), startWithin(60)),
				Child(1, Created(-time.Hour), TakenUp(time.Hour), JobSuspended(corev1.ConditionTrue, time.Minute))),
			want: verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated",
				Message: "attempt 1 created",
				Attempt: 1, RequeueAfter: time.Minute},
		},
		"a scheduling gate that has gone was a queue": {
			o: observed(With(queuedJob(), startWithin(60)), Child(1, Created(-time.Hour), TakenUp(time.Hour)),
				Pod(corev1.PodPending, Unschedulable("0/3"))),
			want: verdict{State: v1.StatePending, Condition: "Progressing", Reason: "Unschedulable",
				Message: "no node fits the pod: 0/3",
				Attempt: 1, Events: []string{"Warning Unschedulable"}, RequeueAfter: time.Minute},
		},
		"an attempt that ran has started, also once its pod has left the cache": {
			o: observed(With(Running(1), startWithin(60)), Child(1, Created(-time.Hour))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 1 ended, the next one begins: its pod was deleted",
				Attempt: 1, Disruptions: 1, Delete: []string{"net-1"}, Events: []string{"Normal Disrupted"},
				RequeueAfter: time.Millisecond},
		},
		"still in the queue": {
			o: observed(With(Starting(1), startWithin(60)), Child(1, Created(-time.Hour), SuspendedChild)),
			want: verdict{State: v1.StateQueued, Condition: "Progressing", Reason: "Queued", Message: "waits for quota",
				Attempt: 1, Events: []string{"Normal Queued"}},
		},
		"a pod that runs has started": {
			o: observed(With(Running(1), startWithin(60)), Child(1, Created(-time.Hour)), Pod(corev1.PodRunning, ReadyPod)),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "trains",
				Attempt: 1, ProgressURL: "http://10.1.2.3:8080/progress"},
		},
	})
}

// queuedJob has waited for an hour.
func queuedJob() *v1.ResNetTrainingJob {
	job := InState(v1.StateQueued, 1,
		metav1.Condition{Type: v1.ConditionProgressing, Status: metav1.ConditionTrue, Reason: v1.ReasonQueued,
			Message: "waits for quota"})
	job.Status.ActiveStartTime = nil
	return job
}

func TestActiveDeadline(t *testing.T) { // the job has been active for an hour
	halfway := func(job *v1.ResNetTrainingJob) {
		job.Status.Progress = &v1.ProgressStatus{Epoch: 12, Epochs: 20}
		job.Status.Checkpoint = &v1.CheckpointStatus{Name: "c12"}
	}
	checkDecisions(t, map[string]row{
		"before it": {
			o: observed(With(Running(1), activeFor(3700)), Child(1), Pod(corev1.PodRunning, ReadyPod)),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "trains",
				Attempt: 1, RequeueAfter: 100 * time.Second, ProgressURL: "http://10.1.2.3:8080/progress"},
		},
		"at it the pod is stopped": {
			o: observed(With(Running(1, halfway), activeFor(3600)), Child(1), Pod(corev1.PodRunning, ReadyPod)),
			want: verdict{State: v1.StateFailed, Condition: "Failed", Reason: "ActiveDeadlineExceeded",
				Message: "spec.activeDeadlineSeconds of 3600 is over after 12/20 epochs; the last checkpoint on record is c12",
				Attempt: 1, Delete: []string{"net-1"}, Events: []string{"Warning ActiveDeadlineExceeded"}},
		},
		"what counted before a suspension counts": {
			o: observed(With(Running(2, func(job *v1.ResNetTrainingJob) { job.Status.ActiveSeconds = 400 }), activeFor(4000)),
				Child(2), Pod(corev1.PodRunning, ReadyPod)),
			want: verdict{State: v1.StateFailed, Condition: "Failed", Reason: "ActiveDeadlineExceeded",
				Message: "spec.activeDeadlineSeconds of 4000 is over", Attempt: 2, Delete: []string{"net-2"},
				Events: []string{"Warning ActiveDeadlineExceeded"}},
		},
		"waits for a retry count": {
			o: observed(With(Restarting(1, time.Minute), activeFor(3600)), Child(1),
				Pod(corev1.PodFailed, Killed("Error", 1, ""))),
			want: verdict{State: v1.StateFailed, Condition: "Failed", Reason: "ActiveDeadlineExceeded",
				Message: "spec.activeDeadlineSeconds of 3600 is over; the last checkpoint on record is c2", Attempt: 1, Failures: 1,
				Events: []string{"Warning ActiveDeadlineExceeded"}},
		},
		"success in the last moment is success": {
			o: observed(With(Running(1), activeFor(3600)), Child(1, Complete),
				Pod(corev1.PodSucceeded, Exited(contract.Termination{}))),
			want: verdict{State: v1.StateSucceeded, Condition: "Complete", Reason: "Succeeded",
				Message: "trained to the end; the model is saved",
				Attempt: 1, Events: []string{"Normal Succeeded"}},
		},
		"a suspended job has time": {
			o:    observed(Suspend(With(Suspended(1), activeFor(1)))),
			want: verdict{State: v1.StateSuspended, Condition: "Suspended", Reason: "Suspended", Attempt: 1},
		},
	})
}

func TestTheClockStandsWhileNothingMayRun(t *testing.T) {
	for name, c := range map[string]struct {
		o       Observation
		since   *metav1.Time
		seconds int64
	}{
		"it begins with the first attempt": {observed(NewJob()), &Now, 0},
		"it runs on":                       {observed(Running(1), Child(1), Pod(corev1.PodRunning, ReadyPod)), &Earlier, 0},
		"it runs between attempts": {
			observed(Running(1), Child(1), Pod(corev1.PodFailed, Killed("Error", 1, ""))), &Earlier, 0},
		"it runs until the pod has saved": {observed(Suspend(Running(1)), Child(1), Pod(corev1.PodRunning, ReadyPod)),
			&Earlier, 0},
		"it stands while the job is suspended": {observed(Suspend(Running(1))), nil, 3600},
		"it stands while the job is queued":    {observed(Starting(1), Child(1, SuspendedChild)), nil, 3600},
		"it goes on after a suspension":        {observed(Suspended(1)), &Now, 0},
		"it stops at the end": {
			observed(Running(1), Child(1, Complete), Pod(corev1.PodSucceeded, Exited(contract.Termination{}))), nil, 3600},
		"a job that is born suspended": {observed(Suspend(NewJob())), nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := Decide(c.o, Now.Time).Status
			if !got.ActiveStartTime.Equal(c.since) || got.ActiveSeconds != c.seconds {
				t.Errorf("since %v, %d s before; want %v, %d s", got.ActiveStartTime, got.ActiveSeconds, c.since, c.seconds)
			}
		})
	}
}

func trainerReadyNow(p *corev1.Pod) {
	TrainerRuns(time.Hour)(p)
	p.Status.ContainerStatuses[0].Ready = true
}

func TestProgressDeadline(t *testing.T) {
	heard := func(o Observation, ago time.Duration) Observation {
		o.Progress = &contract.Progress{Attempt: 1, Phase: contract.PhaseLoading}
		o.Advanced, o.Answered = Now.Add(-ago), Now.Time
		return o
	}
	unheard := func(o Observation, ago time.Duration) Observation { // it answered, and then no more
		o = heard(o, ago)
		o.Answered = o.Advanced
		return o
	}
	silent := func(o Observation, ago time.Duration) Observation {
		o.Advanced = Now.Add(-ago)
		return o
	}
	hung := verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "ProgressDeadlineExceeded",
		Message: "attempt 1 failed, the next one begins in 10s: no optimiser step within spec.progressDeadlineSeconds of " +
			"60: the pod is taken for hung and replaced",
		Attempt: 1, Failures: 1, Delete: []string{"net-1"}, Events: []string{"Warning ProgressDeadlineExceeded"},
		RequeueAfter: 10 * time.Second}
	trains := func(in time.Duration) verdict {
		return verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "trains", Attempt: 1,
			RequeueAfter: in, ProgressURL: "http://10.1.2.3:8080/progress"}
	}
	job := func() *v1.ResNetTrainingJob { return With(Running(1), progressWithin(60)) }
	checkDecisions(t, map[string]row{
		"just followed": {observed(job(), Child(1), Pod(corev1.PodRunning, ReadyPod)), trains(time.Minute)},
		"before it": {heard(observed(job(), Child(1), Pod(corev1.PodRunning, ReadyPod)), 50*time.Second),
			trains(10 * time.Second)},
		"the step does not advance": {heard(observed(job(), Child(1), Pod(corev1.PodRunning, ReadyPod)), time.Minute), hung},
		"a pod that never answers and is not ready": {
			silent(observed(job(), Child(1), Pod(corev1.PodRunning)), time.Minute), hung},
		"a pod that is ready but cannot be reached is left alone": {
			silent(observed(job(), Child(1), Pod(corev1.PodRunning, ReadyPod)), time.Hour), trains(time.Minute)},
		"the same when it could be reached before": {
			unheard(observed(job(), Child(1), Pod(corev1.PodRunning, ReadyPod)), 30*time.Minute), trains(time.Minute)},
		"neither the manager nor the kubelet hears of it": {
			unheard(observed(job(), Child(1), Pod(corev1.PodRunning, NotReady(time.Minute))), 30*time.Minute), hung},
		"the kubelet has not heard of it for a moment": {
			unheard(observed(job(), Child(1), Pod(corev1.PodRunning, NotReady(10*time.Second))), 30*time.Minute),
			trains(50 * time.Second)},
		"a sidecar that is not ready says nothing of the trainer": {
			unheard(observed(job(), Child(1), Pod(corev1.PodRunning, NotReady(time.Hour), trainerReadyNow)), 30*time.Minute),
			trains(time.Minute)},
		"0 turns it off": {heard(observed(With(Running(1), progressWithin(0)), Child(1), Pod(corev1.PodRunning, ReadyPod)),
			time.Hour), trains(0)},
		"a pod that hangs while it reads the data is replaced as well": {
			heard(observed(With(Starting(1), progressWithin(60)), Child(1), Pod(corev1.PodRunning)), time.Minute), hung},
		"a pod that is leaving is not hung": {
			o: heard(observed(job(), Child(1), Pod(corev1.PodRunning, ReadyPod, DeletedPod(time.Minute))), time.Hour),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "trains", Attempt: 1,
				RequeueAfter: 61 * time.Second},
		},
		"a hung pod does not hold up a suspension": {
			o: heard(observed(Suspend(job()), Child(1), Pod(corev1.PodRunning, ReadyPod)), time.Hour),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Suspending",
				Message: "spec.suspend is true: the pod saves a checkpoint and stops",
				Attempt: 1, Delete: []string{"net-1"}, Events: []string{"Normal Suspending"}},
		},
		"hung too often": {
			o: heard(observed(With(Running(1, Failures(2)), progressWithin(60)), Child(1), Pod(corev1.PodRunning, ReadyPod)),
				time.Minute),
			want: verdict{State: v1.StateFailed, Condition: "Failed", Reason: "ProgressDeadlineExceeded",
				Message: "gave up after 3 of 3 failures: no optimiser step within spec.progressDeadlineSeconds of 60: the pod is " +
					"taken for hung and replaced",
				Attempt: 1, Failures: 3, Delete: []string{"net-1"}, Events: []string{"Warning ProgressDeadlineExceeded"}},
		},
	})
}
