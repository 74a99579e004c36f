package policy

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

func TestAnEditHelpsAnAttemptThatCannotStart(t *testing.T) {
	edits := map[string]func(*v1.ResNetTrainingJobSpec){
		"image":     func(s *v1.ResNetTrainingJobSpec) { s.Image = "trainer:2" },
		"resources": func(s *v1.ResNetTrainingJobSpec) { s.Resources.Memory = ptr.To(resource.MustParse("1Gi")) },
		"template": func(s *v1.ResNetTrainingJobSpec) {
			s.Template = &v1.PodTemplate{NodeSelector: map[string]string{"a": "b"}}
		},
	}
	replaced := verdict{State: v1.StateRestarting, Condition: "Progressing", Reason: "SpecChanged",
		Message: "attempt 1 had not started; the next one begins with the new spec",
		Attempt: 1, Delete: []string{"net-1"}, Events: []string{"Normal SpecChanged"}, RequeueAfter: time.Millisecond}
	rows := map[string]row{}
	for name, edit := range edits {
		made := MadeFor(t, Starting(1))
		rows[name+" of a pod that cannot start"] = row{
			observed(With(Starting(1), edit), made, Pod(corev1.PodPending, Unschedulable("0/3"))), replaced}
		rows[name+" of a queued attempt"] = row{observed(With(Starting(1), edit), MadeFor(t, Starting(1), SuspendedChild)),
			replaced}
		rows[name+" of a pod that trains"] = row{observed(With(Running(1), edit), made, Pod(corev1.PodRunning, ReadyPod)),
			verdict{State: v1.StateRunning, Condition: "Progressing", Reason: "Training", Message: "trains", Attempt: 1,
				ProgressURL: "http://10.1.2.3:8080/progress"}}
	}
	inQueue := func(name string) *v1.ResNetTrainingJob {
		job := Starting(1)
		job.Labels = map[string]string{childjob.LabelQueue: name}
		return job
	}
	rows["the queue of an attempt that waits in another"] = row{observed(inQueue("b"), MadeFor(t, inQueue("a"))), replaced}
	rows["the queue of a job that had none"] = row{observed(inQueue("b"), MadeFor(t, Starting(1))), replaced}
	waitsInA := verdict{State: v1.StateQueued, Condition: "Progressing", Reason: "Queued", Message: "waits for quota",
		Attempt: 1, Events: []string{"Normal Queued"}}
	rows["the queue that Kueue chose for a job without one"] = row{observed(Starting(1), MadeFor(t, inQueue("a"))),
		waitsInA}
	rows["another edit leaves it waiting"] = row{
		observed(With(Starting(1), func(s *v1.ResNetTrainingJobSpec) { s.Retry.MaxFailures = 9 }), MadeFor(t, Starting(1)),
			Pod(corev1.PodPending, Unschedulable("0/3"))),
		verdict{State: v1.StatePending, Condition: "Progressing", Reason: "Unschedulable",
			Message: "no node fits the pod: 0/3", Attempt: 1, Events: []string{"Warning Unschedulable"}}}
	checkDecisions(t, rows)
}

// An upgrade may bring fields with a default that the spec of a child lacks, since they are newer than it; or that the
// job lacks, since its CustomResourceDefinition is older than the manager. Nobody edited the job.
func TestANewDefaultIsNoEdit(t *testing.T) {
	older := func(s *v1.ResNetTrainingJobSpec) { // as if cpu, memory and gpuResource were newer than all others
		s.Resources.CPU, s.Resources.Memory, s.Resources.GPUResource = nil, nil, ""
	}
	newer := func(s *v1.ResNetTrainingJobSpec) {
		s.Resources.CPU, s.Resources.Memory = ptr.To(resource.MustParse("2")), ptr.To(resource.MustParse("4Gi"))
		s.Resources.GPUResource = "nvidia.com/gpu"
	}
	for name, c := range map[string]struct {
		made, now func(*v1.ResNetTrainingJobSpec)
		edited    bool
	}{
		"a child of an earlier release":      {older, newer, false},
		"a definition of an earlier release": {newer, older, false},
		"and an edit besides": {older,
			func(s *v1.ResNetTrainingJobSpec) { newer(s); s.Image = "trainer:2" }, true},
		"another value than the new default's": {older,
			func(s *v1.ResNetTrainingJobSpec) { newer(s); s.Resources.GPUResource = "amd.com/gpu" }, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := observed(With(Starting(1), c.now), MadeFor(t, With(Starting(1), c.made), SuspendedChild))
			if got := o.Edited(); got != c.edited {
				t.Errorf("edited is %v, want %v", got, c.edited)
			}
		})
	}
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
			job := With(Restarting(1, 0), c.edit)
			job.Status.Compute = c.before
			if !c.saved {
				job.Status.Checkpoint = nil
			}
			d := Decide(observed(job, Child(1), Pod(corev1.PodFailed, Killed("Error", 1, ""))), Now.Time)
			warned := len(d.Events) == 2 && d.Events[1].Reason == v1.ReasonComputeChanged
			if d.Status.Compute != c.compute || warned != c.warned {
				t.Errorf("compute %q, events %v", d.Status.Compute, d.Events)
			}
		})
	}
}
