package controllers

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// madeFor returns the child that childJob makes for the spec as it is now.
func madeFor(t *testing.T, job *v1.ResNetTrainingJob, opts ...option[batchv1.Job]) *batchv1.Job {
	t.Helper()
	c, err := childJob(job, 1, PodDefaults{Image: "trainer:default"})
	if err != nil {
		t.Fatal(err)
	}
	c.CreationTimestamp = now
	for _, opt := range opts {
		opt(c)
	}
	return c
}

func TestAnEditHelpsAnAttemptThatCannotStart(t *testing.T) {
	edits := map[string]func(*v1.ResNetTrainingJobSpec){
		"image":     func(s *v1.ResNetTrainingJobSpec) { s.Image = "trainer:2" },
		"resources": func(s *v1.ResNetTrainingJobSpec) { s.Resources.Memory = ptr.To(resource.MustParse("1Gi")) },
		"template": func(s *v1.ResNetTrainingJobSpec) {
			s.Template = &v1.PodTemplate{NodeSelector: map[string]string{"a": "b"}}
		},
	}
	replaced := verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "SpecChanged", Message: "attempt 1 had not started; the next one begins with the new spec",
		Attempt: 1, Delete: []string{"net-1"}, Events: []string{"Normal SpecChanged"}, RequeueAfter: time.Millisecond}
	rows := map[string]row{}
	for name, edit := range edits {
		made := madeFor(t, starting(1))
		rows[name+" of a pod that cannot start"] = row{observed(with(starting(1), edit), made, pod(corev1.PodPending, unschedulable("0/3"))), replaced}
		rows[name+" of a queued attempt"] = row{observed(with(starting(1), edit), madeFor(t, starting(1), suspendedChild)), replaced}
		rows[name+" of a pod that trains"] = row{observed(with(running(1), edit), made, pod(corev1.PodRunning, readyPod)),
			verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "trains", Attempt: 1, ProgressURL: "http://10.1.2.3:8080/progress"}}
	}
	inQueue := func(name string) *v1.ResNetTrainingJob {
		job := starting(1)
		job.Labels = map[string]string{labelQueue: name}
		return job
	}
	rows["the queue of an attempt that waits in another"] = row{observed(inQueue("b"), madeFor(t, inQueue("a"))), replaced}
	rows["the queue of a job that had none"] = row{observed(inQueue("b"), madeFor(t, starting(1))), replaced}
	waitsInA := verdict{State: v1.StateQueued, Condition: "Progressing", Reason: "Queued", Message: "waits for quota", Attempt: 1, Events: []string{"Normal Queued"}}
	rows["the queue that Kueue chose for a job without one"] = row{observed(starting(1), madeFor(t, inQueue("a"))), waitsInA}
	rows["another edit leaves it waiting"] = row{
		observed(with(starting(1), func(s *v1.ResNetTrainingJobSpec) { s.Retry.MaxFailures = 9 }), madeFor(t, starting(1)), pod(corev1.PodPending, unschedulable("0/3"))),
		verdict{State: v1.StatePending, Condition: "Progressing", Reason: "Unschedulable", Message: "no node fits the pod: 0/3", Attempt: 1, Events: []string{"Warning Unschedulable"}}}
	checkDecisions(t, rows)
}

func TestAnotherNumberOfThreadsIsTold(t *testing.T) {
	cpu := func(s string) func(*v1.ResNetTrainingJobSpec) {
		return func(spec *v1.ResNetTrainingJobSpec) { spec.Resources.CPU = ptr.To(resource.MustParse(s)) }
	}
	gpu := func(spec *v1.ResNetTrainingJobSpec) { cpu("2")(spec); spec.Resources.GPUs = 1 }
	claimed := func(spec *v1.ResNetTrainingJobSpec) {
		gpu(spec)
		spec.Resources.ResourceClaims = []v1.ResourceClaim{{Name: "gpu"}}
	}
	for name, c := range map[string]struct {
		before  string
		edit    func(*v1.ResNetTrainingJobSpec)
		saved   bool
		compute string
		warned  bool
	}{
		"the same":                         {"2 threads", cpu("1500m"), true, "2 threads", false},
		"fewer":                            {"2 threads", cpu("1"), true, "1 thread", true},
		"nothing to resume from":           {"2 threads", cpu("4"), false, "4 threads", false},
		"a GPU":                            {"2 threads", gpu, true, "nvidia.com/gpu", true},
		"a GPU has no threads that matter": {"nvidia.com/gpu", gpu, true, "nvidia.com/gpu", false},
		"a GPU by claim":                   {"", claimed, true, "GPU of a resource claim", false},
	} {
		t.Run(name, func(t *testing.T) {
			job := with(restarting(1, 0), c.edit)
			job.Status.Compute = c.before
			if !c.saved {
				job.Status.Checkpoint = nil
			}
			d := decide(observed(job, child(1), pod(corev1.PodFailed, killed("Error", 1, ""))), now.Time)
			warned := len(d.events) == 2 && d.events[1].reason == v1.ReasonComputeChanged
			if d.status.Compute != c.compute || warned != c.warned {
				t.Errorf("compute %q, events %v", d.status.Compute, d.events)
			}
		})
	}
}
