package policy

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

// observed is what is observed of a job, with its child and pods.
func observed(job *v1.ResNetTrainingJob, parts ...any) Observation {
	o := Observation{Job: job, Attempt: job.Status.Attempt}
	if o.Child, o.Pods = ChildAndPods(parts...); o.Child != nil && o.Attempt == 0 {
		o.Attempt = 1
	}
	return o
}

// verdict is the part of a decision that a row of the table states.
type verdict struct {
	State        v1.State
	Condition    string // the condition that explains the state
	Reason       string
	Message      string
	Attempt      int32
	Failures     int32
	Disruptions  int32
	Create       int32
	Delete       []string
	Events       []string
	RequeueAfter time.Duration
	ProgressURL  string
}

func (d Decision) verdict(condition string) verdict {
	v := verdict{
		State: d.Status.State, Condition: condition, Attempt: d.Status.Attempt, Failures: d.Status.Failures,
		Disruptions: d.Status.Disruptions, Create: d.Create, Delete: d.Delete,
		RequeueAfter: d.RequeueAfter, ProgressURL: d.ProgressURL,
	}
	if c := meta.FindStatusCondition(d.Status.Conditions, condition); c != nil {
		v.Reason, v.Message = c.Reason, c.Message
	}
	for _, e := range d.Events {
		v.Events = append(v.Events, e.Type+" "+e.Reason)
	}
	return v
}

// row is one case of a policy: what is observed, and what is decided.
type row struct {
	o    Observation
	want verdict
}

// checkDecisions on what is to be written once that cannot wait any longer; hold_test.go is about the wait.
func checkDecisions(t *testing.T, rows map[string]row) {
	t.Helper()
	for name, r := range rows {
		t.Run(name, func(t *testing.T) {
			r.o.HeldSince = Now.Add(-holdTime)
			if diff := cmp.Diff(r.want, Decide(r.o, Now.Time).verdict(r.want.Condition)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestDecide(t *testing.T) {
	checkDecisions(t, map[string]row{
		"a new job begins its first attempt": {
			o: observed(NewJob()),
			want: verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated",
				Message: "attempt 1 created",
				Attempt: 1, Create: 1},
		},
		"a child without a status is adopted, not created again": {
			o: observed(NewJob(), Child(1)),
			want: verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated",
				Message: "attempt 1 created",
				Attempt: 1, RequeueAfter: time.Minute},
		},
		"no pod for a long time": {
			o: observed(Starting(1), Child(1, Created(-time.Minute))),
			want: verdict{State: v1.StatePending, Condition: "Progressing", Reason: "PodRefused",
				Message: "no pod was created; a quota or an admission rule may refuse it: kubectl -n team describe job net-1",
				Attempt: 1, Events: []string{"Warning PodRefused"}},
		},
		"held by a queue": {
			o: observed(Starting(1), Child(1, SuspendedChild)),
			want: verdict{State: v1.StateQueued, Condition: "Progressing", Reason: "Queued", Message: "waits for quota",
				Attempt: 1, Events: []string{"Normal Queued"}},
		},
		"no node fits": {
			o: observed(Starting(1), Child(1), Pod(corev1.PodPending, Unschedulable("0/3 nodes have 1 nvidia.com/gpu"))),
			want: verdict{State: v1.StatePending, Condition: "Progressing", Reason: "Unschedulable",
				Message: "no node fits the pod: 0/3 nodes have 1 nvidia.com/gpu", Attempt: 1,
				Events: []string{"Warning Unschedulable"}},
		},
		"the image cannot be pulled": {
			o: observed(Starting(1), Child(1), Pod(corev1.PodPending, Waiting("ImagePullBackOff", "no such image"))),
			want: verdict{State: v1.StatePending, Condition: "Progressing", Reason: "ImagePullFailed",
				Message: `image "trainer:1" cannot be pulled; correct spec.image or spec.template.imagePullSecrets: no such image`,
				Attempt: 1, Events: []string{"Warning ImagePullFailed"}},
		},
		"the Secret is missing": {
			o: observed(Starting(1), Child(1),
				Pod(corev1.PodPending, Waiting("CreateContainerConfigError", `secret "s3" not found`))),
			want: verdict{State: v1.StatePending, Condition: "Progressing", Reason: "PodConfigError",
				Message: `the pod waits for something that spec.template names: secret "s3" not found`,
				Attempt: 1, Events: []string{"Warning PodConfigError"}},
		},
		"a pod that reads the data is asked for its progress": {
			o: observed(Starting(1), Child(1), Pod(corev1.PodRunning)),
			want: verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated",
				Message: "attempt 1 created",
				Attempt: 1, ProgressURL: "http://10.1.2.3:8080/progress"},
		},
		"a ready pod trains": {
			o: observed(Starting(1), Child(1), Pod(corev1.PodRunning, ReadyPod)),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "pod net-1-0 trains",
				Attempt: 1, ProgressURL: "http://10.1.2.3:8080/progress"},
		},
		"a pod that has just become ready is given time to tell its progress": {
			o: observed(Starting(1), Child(1), Pod(corev1.PodRunning, ReadyNow)),
			want: verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated",
				Message: "attempt 1 created",
				Attempt: 1, ProgressURL: "http://10.1.2.3:8080/progress", RequeueAfter: 5 * time.Second},
		},
		"a probe that fails once does not undo the start": {
			o: observed(Running(1), Child(1), Pod(corev1.PodRunning)),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "trains",
				Attempt: 1, ProgressURL: "http://10.1.2.3:8080/progress"},
		},
		"success": {
			o: observed(Running(1), Child(1, Complete), Pod(corev1.PodSucceeded, Exited(contract.Termination{}))),
			want: verdict{State: v1.StateSucceeded, Condition: "Complete", Reason: "Succeeded",
				Message: "trained to the end; the model is saved",
				Attempt: 1, Events: []string{"Normal Succeeded"}},
		},
		"success leaves no Job of an attempt that failed": {
			o: observed(Running(3), Child(3, Complete), Pod(corev1.PodSucceeded, Exited(contract.Termination{}))),
			want: verdict{State: v1.StateSucceeded, Condition: "Complete", Reason: "Succeeded",
				Message: "trained to the end; the model is saved",
				Attempt: 3, Delete: []string{"net-1", "net-2"}, Events: []string{"Normal Succeeded"}},
		},
		"a complete Job waits for the last words of its pod": {
			o: observed(Running(1), Child(1, Complete), Pod(corev1.PodRunning)),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "trains",
				Attempt: 1, RequeueAfter: time.Second},
		},
		"a wrong spec is not tried again": {
			o: observed(Running(1), Child(1),
				Pod(corev1.PodFailed, Exited(contract.Termination{ExitCode: 64, Message: `spec.storage.uri: no bucket "m"`}))),
			want: verdict{State: v1.StateFailed, Condition: "Failed", Reason: "InvalidSpec",
				Message: `spec.storage.uri: no bucket "m"`,
				Attempt: 1, Failures: 1, Events: []string{"Warning InvalidSpec"}},
		},
		"bad data is not tried again": {
			o: observed(Running(1), Child(1),
				Pod(corev1.PodFailed, Exited(contract.Termination{ExitCode: 65, Message: "truncated"}))),
			want: verdict{State: v1.StateFailed, Condition: "Failed", Reason: "InvalidData", Message: "truncated",
				Attempt: 1, Failures: 1, Events: []string{"Warning InvalidData"}},
		},
		"diverged is not tried again": {
			o: observed(Running(1), Child(1),
				Pod(corev1.PodFailed, Exited(contract.Termination{ExitCode: 70, Message: "step 7: loss is NaN"}))),
			want: verdict{State: v1.StateFailed, Condition: "Failed", Reason: "Diverged", Message: "step 7: loss is NaN",
				Attempt: 1, Failures: 1, Events: []string{"Warning Diverged"}},
		},
		"unreachable storage is tried again after a wait": {
			o: observed(Running(1), Child(1),
				Pod(corev1.PodFailed, Exited(contract.Termination{ExitCode: 69, Message: "no route"}))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "StorageUnreachable",
				Message: "attempt 1 failed, the next one begins in 10s: no route",
				Attempt: 1, Failures: 1, Events: []string{"Warning StorageUnreachable"}, RequeueAfter: 10 * time.Second},
		},
		"a killed trainer is tried again, later each time": {
			o: observed(Running(2, Failures(1)), Child(2), Pod(corev1.PodFailed, Killed("Error", 137, "log\nlast line"))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "TrainerError",
				Message: "attempt 2 failed, the next one begins in 20s: exit code 137 (killed): log | last line",
				Attempt: 2, Failures: 2, Events: []string{"Warning TrainerError"}, RequeueAfter: 20 * time.Second},
		},
		"out of memory names the limit": {
			o: observed(Running(1), Child(1), Pod(corev1.PodFailed, Killed("OOMKilled", 137, ""))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "OutOfMemory",
				Message: "attempt 1 failed, the next one begins in 10s: the trainer needed more memory than " +
					"spec.resources.memory (4Gi) allows: raise it, or lower spec.training.batchSize",
				Attempt: 1, Failures: 1, Events: []string{"Warning OutOfMemory"}, RequeueAfter: 10 * time.Second},
		},
		"the last failure fails the job": {
			o: observed(Running(3, Failures(2)), Child(3), Pod(corev1.PodFailed, Killed("Error", 1, "boom"))),
			want: verdict{State: v1.StateFailed, Condition: "Failed", Reason: "TrainerError",
				Message: "gave up after 3 of 3 failures: exit code 1: boom",
				Attempt: 3, Failures: 3, Events: []string{"Warning TrainerError"}},
		},
		"SIGTERM from nobody that Kubernetes knows of is a failure": {
			o: observed(Running(1), Child(1), Pod(corev1.PodFailed, Exited(contract.Termination{ExitCode: 75}))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "TrainerError",
				Message: "attempt 1 failed, the next one begins in 10s: it got SIGTERM from somebody other than Kubernetes, " +
					"saved a checkpoint and stopped (exit code 75)",
				Attempt: 1, Failures: 1, Events: []string{"Warning TrainerError"}, RequeueAfter: 10 * time.Second},
		},
		"SIGTERM of a pod that is deleted costs no retry and no wait": {
			o: observed(Running(1), Child(1),
				Pod(corev1.PodFailed, Exited(contract.Termination{ExitCode: 75}), DeletedPod(time.Minute))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 1 ended, the next one begins: its pod was deleted",
				Attempt: 1, Disruptions: 1, Events: []string{"Normal Disrupted"}, RequeueAfter: time.Millisecond},
		},
		"a preempted pod costs no retry, whatever its exit code": {
			o: observed(Running(1), Child(1),
				Pod(corev1.PodFailed, Killed("Error", 137, ""), Disrupted("PreemptionByScheduler"))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 1 ended, the next one begins: its pod was disrupted (PreemptionByScheduler)",
				Attempt: 1, Disruptions: 1, Events: []string{"Normal Disrupted"}, RequeueAfter: time.Millisecond},
		},
		"a deleted pod costs no retry": {
			o: observed(Running(1), Child(1), Pod(corev1.PodFailed, Killed("Error", 137, ""), DeletedPod(0))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 1 ended, the next one begins: its pod was deleted",
				Attempt: 1, Disruptions: 1, Events: []string{"Normal Disrupted"}, RequeueAfter: time.Millisecond},
		},
		"a deleted child costs no retry": {
			o: observed(Running(1)),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 1 ended, the next one begins: its Job was deleted",
				Attempt: 1, Disruptions: 1, Events: []string{"Normal Disrupted"}, RequeueAfter: time.Millisecond},
		},
		"the pod of a deleted child may save first": {
			o: observed(Running(1), Pod(corev1.PodRunning, ReadyPod, DeletedPod(30*time.Second))),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "trains",
				Attempt: 1, RequeueAfter: 31 * time.Second},
		},
		"the pod of a deleted child will be deleted": {
			o:    observed(Running(1), Pod(corev1.PodRunning, ReadyPod)),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "trains", Attempt: 1},
		},
		"the pod of a deleted child has saved": {
			o: observed(Running(1), Pod(corev1.PodFailed, Exited(contract.Termination{ExitCode: 75}),
				DeletedPod(30*time.Second))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 1 ended, the next one begins: its Job was deleted",
				Attempt: 1, Disruptions: 1, Events: []string{"Normal Disrupted"}, RequeueAfter: time.Millisecond},
		},
		"the pod of a deleted child is on a dead node": {
			o: observed(Running(1), Pod(corev1.PodRunning, DeletedPod(-time.Second))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 1 ended, the next one begins: its Job was deleted",
				Attempt: 1, Disruptions: 1, Events: []string{"Normal Disrupted"}, RequeueAfter: time.Millisecond},
		},
		"a pod on a dead node holds up nobody": {
			o: observed(Running(1), Child(1),
				Pod(corev1.PodRunning, Disrupted("DeletionByTaintManager"), DeletedPod(-time.Second))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "Disrupted",
				Message: "attempt 1 ended, the next one begins: its pod was disrupted (DeletionByTaintManager)",
				Attempt: 1, Disruptions: 1, Delete: []string{"net-1"}, Events: []string{"Normal Disrupted"},
				RequeueAfter: time.Millisecond},
		},
		"a pod that is being evicted gets its grace": {
			o: observed(Running(1), Child(1),
				Pod(corev1.PodRunning, ReadyPod, Disrupted("EvictionByEvictionAPI"), DeletedPod(30*time.Second))),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "trains",
				Attempt: 1, RequeueAfter: 31 * time.Second},
		},
		"a retry waits for its time": {
			o: observed(Restarting(1, 4*time.Second), Child(1), Pod(corev1.PodFailed, Killed("Error", 1, ""))),
			want: verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "TrainerError", Message: "failed",
				Attempt: 1, Failures: 1, RequeueAfter: 4 * time.Second},
		},
		"a retry begins and drops all but the last failed attempt": {
			o: observed(Restarting(2, 0), Child(2), Pod(corev1.PodFailed, Killed("Error", 1, ""))),
			want: verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated",
				Message: "attempt 3 created: resumes from checkpoint c2", Attempt: 3, Failures: 1, Create: 3,
				Delete: []string{"net-1"}, Events: []string{"Normal AttemptCreated"}},
		},
		"a job that is born suspended starts nothing": {
			o: observed(Suspend(NewJob())),
			want: verdict{State: v1.StateSuspended, Condition: "Suspended", Reason: "Suspended",
				Message: "spec.suspend is true: set it to false to go on", Events: []string{"Normal Suspended"}},
		},
		"suspend stops the attempt": {
			o: observed(Suspend(Running(1)), Child(1), Pod(corev1.PodRunning, ReadyPod)),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Suspending",
				Message: "spec.suspend is true: the pod saves a checkpoint and stops", Attempt: 1, Delete: []string{"net-1"},
				Events: []string{"Normal Suspending"}},
		},
		"suspend waits for the pod": {
			o: observed(Suspend(Running(1)), Child(1, DeletedChild),
				Pod(corev1.PodFailed, Exited(contract.Termination{ExitCode: 75}), DeletedPod(time.Minute))),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Suspending",
				Message: "spec.suspend is true: the pod saves a checkpoint and stops", Attempt: 1,
				Events: []string{"Normal Suspending"}, RequeueAfter: 61 * time.Second},
		},
		"suspend waits for the pod of a deleted child": {
			o: observed(Suspend(Running(1)), Pod(corev1.PodRunning, ReadyPod, DeletedPod(time.Minute))),
			want: verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Suspending",
				Message: "spec.suspend is true: the pod saves a checkpoint and stops", Attempt: 1,
				Events: []string{"Normal Suspending"}, RequeueAfter: 61 * time.Second},
		},
		"suspended once the pod is gone": {
			o: observed(Suspend(Running(1))),
			want: verdict{State: v1.StateSuspended, Condition: "Suspended", Reason: "Suspended",
				Message: "spec.suspend is true: set it to false to go on", Attempt: 1, Events: []string{"Normal Suspended"}},
		},
		"resume is a new attempt": {
			o: observed(Suspended(1)),
			want: verdict{State: v1.StateStarting, Condition: "Progressing", Reason: "AttemptCreated",
				Message: "attempt 2 created",
				Attempt: 2, Create: 2, Events: []string{"Normal AttemptCreated"}},
		},
		"a job that ended while it was being suspended has ended": {
			o: observed(Suspend(Running(1)), Child(1, Complete), Pod(corev1.PodSucceeded, Exited(contract.Termination{}))),
			want: verdict{State: v1.StateSucceeded, Condition: "Complete", Reason: "Succeeded",
				Message: "trained to the end; the model is saved",
				Attempt: 1, Events: []string{"Normal Succeeded"}},
		},
		"a finished job never runs again, whatever happens to its child": {
			o:    observed(Succeeded(1)),
			want: verdict{State: v1.StateSucceeded, Condition: "Complete", Reason: "Succeeded", Message: "done", Attempt: 1},
		},
		"a folder is not for pods": {
			o: observed(OnFolder(NewJob())),
			want: verdict{State: v1.StateFailed, Condition: "Failed", Reason: "InvalidSpec",
				Message: `spec.storage.uri: "file:///models" is a folder, and the pod has none there: use s3://, or mount a ` +
					`volume at or above it with spec.template.volumes and volumeMounts`, Events: []string{"Warning InvalidSpec"}},
		},
	})
}

func TestAnEditOfAFinishedJobIsObserved(t *testing.T) {
	job := Succeeded(1)
	job.Generation = 7
	if got := Decide(observed(job), Now.Time).Status.ObservedGeneration; got != 7 {
		t.Errorf("observedGeneration is %d, want 7: who waits for it would wait for ever", got)
	}
}

func TestProgressIsCoalesced(t *testing.T) {
	o := observed(Running(1), Child(1), Pod(corev1.PodRunning, ReadyPod))
	o.Progress = &contract.Progress{Attempt: 1, Phase: contract.PhaseTraining, Epoch: 3, Epochs: 20, Step: 99,
		Loss: ptr.To(0.25), Accuracy: ptr.To(0.9142)}

	d := Decide(o, Now.Time)
	want := &v1.ProgressStatus{Epoch: 3, Epochs: 20, Step: 99, Loss: ptr.To(0.25), Accuracy: ptr.To(0.9142)}
	if diff := cmp.Diff(want, d.Status.Progress); diff != "" || !d.ProgressChanged {
		t.Errorf("the first progress is written at once: changed %v, -want +got:\n%s", d.ProgressChanged, diff)
	}
	o.ProgressWritten = Now.Add(-4 * time.Second)
	if d := Decide(o, Now.Time); d.ProgressChanged || d.Status.Progress != nil || d.RequeueAfter != 6*time.Second {
		t.Errorf("progress 4 s after the last write: changed %v, requeue %s; want nothing for 6 s", d.ProgressChanged,
			d.RequeueAfter)
	}
	o.Job.Status.Progress = want
	o.Progress.Step, o.Progress.ImagesPerSecond = 120, 200
	o.ProgressWritten = time.Time{}
	if d := Decide(o, Now.Time); d.ProgressChanged {
		t.Error("a step alone is worth no write")
	}
	o.Progress.Loss = ptr.To(0.24)
	if d := Decide(o, Now.Time); d.ProgressChanged {
		t.Error("nor is the loss of the current epoch, before it is due")
	}
	o.LossDue = true
	if d := Decide(o, Now.Time); !d.ProgressChanged || *d.Status.Progress.Loss != 0.24 ||
		d.Status.Display.Loss != "0.2400" {
		t.Errorf("the loss is due: changed %v, %+v", d.ProgressChanged, d.Status.Display)
	}
	o.Progress.Loss = ptr.To(0.25000001)
	if d := Decide(o, Now.Time); d.ProgressChanged {
		t.Error("a loss that reads the same is worth no write")
	}
	o.Progress.Attempt = 2
	o.Progress.Loss = ptr.To(9.0)
	if d := Decide(o, Now.Time); d.ProgressChanged {
		t.Error("progress of another attempt must be ignored")
	}
}

func TestTheLastCheckpointOfASuspendedJobIsRecorded(t *testing.T) {
	word := contract.Termination{ExitCode: 75,
		Progress: &contract.Progress{Attempt: 1, Phase: contract.PhaseSaving, Epochs: 20, Step: 7,
			Checkpoint: &contract.Checkpoint{Name: "00000-00000007-a1", URI: "s3://models/team/net/u-1/c7"}}}
	o := observed(Suspend(Running(1)), Child(1, DeletedChild),
		Pod(corev1.PodFailed, Exited(word), DeletedPod(time.Minute)))
	o.Job.Status.Progress = &v1.ProgressStatus{Epochs: 20, Step: 3} // nothing but the checkpoint is new
	o.ProgressWritten = Now.Time
	if d := Decide(o, Now.Time); !d.ProgressChanged || d.Status.Checkpoint == nil ||
		d.Status.Checkpoint.Name != "00000-00000007-a1" {
		t.Errorf("changed %v, checkpoint %v: want that of step 7 to be written at once", d.ProgressChanged,
			d.Status.Checkpoint)
	}
}

func TestTheTerminationMessageIsTheFinalProgress(t *testing.T) {
	checkpoint := &contract.Checkpoint{Name: "00020-00000009-a1", URI: "s3://models/team/net/u-1/c9", Time: Now.Time}
	word := contract.Termination{
		Progress: &contract.Progress{Attempt: 1, Phase: contract.PhaseDone, Epoch: 20, Epochs: 20, Accuracy: ptr.To(0.95),
			ETASeconds: 3, FirstStepTime: &Now.Time, Checkpoint: checkpoint},
		Artifacts: &contract.Artifacts{Root: "s3://models/team/net/u-1/", Model: "s3://models/team/net/u-1/model",
			Metrics: "s3://models/team/net/u-1/metrics", Report: "s3://models/team/net/u-1/report"},
	}
	o := observed(Running(1), Child(1, Complete), Pod(corev1.PodSucceeded, Exited(word)))
	o.Progress = &contract.Progress{Attempt: 1, Phase: contract.PhaseTraining, Epoch: 19, Epochs: 20}
	o.ProgressWritten = Now.Time // the end is never put off

	got := Decide(o, Now.Time).Status
	if diff := cmp.Diff(&v1.ProgressStatus{Epoch: 20, Epochs: 20, Accuracy: ptr.To(0.95)}, got.Progress); diff != "" {
		t.Errorf("progress -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(&v1.DisplayStatus{Epoch: "20/20", Accuracy: "95.00%"}, got.Display); diff != "" {
		t.Errorf("display -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(&v1.ArtifactsStatus{URI: "s3://models/team/net/u-1/", Model: "s3://models/team/net/u-1/model",
		Metrics: "s3://models/team/net/u-1/metrics", Report: "s3://models/team/net/u-1/report"}, got.Artifacts); diff != "" {
		t.Errorf("artifacts -want +got:\n%s", diff)
	}
	if c := got.Checkpoint; c == nil || c.Name != "00020-00000009-a1" || c.Epoch != 20 || c.Step != 9 ||
		got.FirstStepTime == nil || got.CompletionTime == nil {
		t.Errorf("checkpoint %v, first step %v, completion %v: want all set", got.Checkpoint, got.FirstStepTime,
			got.CompletionTime)
	}
}
