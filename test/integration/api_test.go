package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/resnet-operator/resnet-operator/api/manifest"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// The trainer fills in defaults without an API server; both must come to the same job.
func TestDefaultsAreTheSameOnALaptop(t *testing.T) {
	e := newEnv(t)
	e.createJob(jobYAML)
	local, err := manifest.Parse([]byte(jobYAML))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(local.Spec, e.job().Spec); diff != "" {
		t.Errorf("(-laptop +cluster):\n%s", diff)
	}
}

func TestWhatDecidesTheNumbersIsImmutable(t *testing.T) {
	e := newEnv(t)
	e.createJob(jobYAML)
	for field, change := range map[string]func(*v1.ResNetTrainingJobSpec){
		"spec.model":       func(s *v1.ResNetTrainingJobSpec) { s.Model.Architecture = v1.ResNet34 },
		"spec.distributed": func(s *v1.ResNetTrainingJobSpec) { s.Distributed = &v1.DistributedSpec{Pods: 2, ProcessesPerPod: 1} },
		"spec.resumeFrom":  func(s *v1.ResNetTrainingJobSpec) { s.ResumeFrom = &v1.ResumeFromSpec{URI: "s3://models/x"} },
		"spec.dataset":     func(s *v1.ResNetTrainingJobSpec) { s.Dataset.MaxTrainImages = ptr.To[int32](9) },
		"spec.training":    func(s *v1.ResNetTrainingJobSpec) { s.Training.Epochs = 9 },
		"spec.storage":     func(s *v1.ResNetTrainingJobSpec) { s.Storage.URI = "s3://other" },
	} {
		job := e.job()
		change(&job.Spec)
		err := kube.Update(e.ctx, job)
		if err == nil || !strings.Contains(err.Error(), field+": Invalid value: is immutable: create another job") {
			t.Errorf("%s: got %v", field, err)
		}
	}
	job := e.job()
	job.Spec.Resources.GPUs = 2
	if err := kube.Update(e.ctx, job); err == nil || !strings.Contains(err.Error(), "spec.resources.gpus: Invalid value: is immutable above 1") {
		t.Errorf("a second GPU: got %v", err)
	}
	job = e.job()
	job.Spec.Resources.GPUs = 1
	job.Spec.Suspend, job.Spec.Image, job.Spec.Retry.MaxFailures = true, "other:1", 9
	job.Spec.Resources.Memory = ptr.To(resource.MustParse("8Gi"))
	e.Expect(kube.Update(e.ctx, job)).To(Succeed(), "the rest may change")
}

// Batch normalisation of several processes together needs only one image of each.
func TestOneImageForEachProcess(t *testing.T) {
	e := newEnv(t)
	job := e.createJob(jobYAML + "  training: {batchSize: 4}\n" +
		"  distributed: {pods: 2, processesPerPod: 2, normalization: Synchronized}\n")
	e.Expect(job.Spec.Synchronized()).To(BeTrue())
	e.Expect(job.Spec.Training.BatchSize).To(BeEquivalentTo(job.Spec.Processes()))
}

func TestColumns(t *testing.T) {
	e := newEnv(t)
	job := e.createJob(jobYAML + "  distributed: {pods: 4}\n")
	job.Status = v1.ResNetTrainingJobStatus{
		State: v1.StateRunning, Attempt: 2,
		Progress:   &v1.ProgressStatus{Epoch: 12, Epochs: 20, ImagesPerSecond: 201},
		Display:    &v1.DisplayStatus{Epoch: "12/20", Loss: "0.2345", Accuracy: "91.42%", BestAccuracy: "91.50%", ETA: "3m20s"},
		Checkpoint: &v1.CheckpointStatus{Name: "00012-00004800-a2", URI: "s3://models/x", Time: metav1.Now()},
	}
	e.Expect(kube.Status().Update(e.ctx, job)).To(Succeed())

	e.Expect(e.kubectl("get", "resnetjobs")).To(MatchRegexp(
		`(?m)^NAME +STATE +EPOCH +LOSS +ACCURACY +ETA +AGE\nnet +Running +12/20 +0.2345 +91.42% +3m20s +\d+s$`))
	e.Expect(e.kubectl("get", "resnetjob", "net", "-o", "wide")).To(MatchRegexp(
		`BEST +IMAGES/S +PODS +ATTEMPT +CHECKPOINT\n.* 91.50% +201 +4 +2 +00012-00004800-a2`))
	e.Expect(e.kubectl("get", "resnetjobs", "--field-selector", "status.state=Failed", "-o", "name")).To(BeEmpty())
	e.Expect(e.kubectl("get", "resnetjobs", "--field-selector", "status.state=Running", "-o", "name")).To(ContainSubstring("/net"))
}

// What a field is, its default, and what each of its values means, is there without a browser. config/crd has the test that no
// field lacks it.
func TestExplain(t *testing.T) {
	e := newEnv(t)
	explain := func(field string) string { return strings.Join(strings.Fields(e.kubectl("explain", field)), " ") }
	e.Expect(explain("resnetjob.spec.model.normalization")).To(SatisfyAll(
		ContainSubstring("normalization is the layer behind every convolution. Default: BatchNorm."),
		ContainSubstring("- GroupNorm: torch.nn.GroupNorm with normalizationGroups groups.")))
	e.Expect(explain("resnetjob.status.state")).To(ContainSubstring("- Queued: a queueing system holds the job back"))
}

// A state of a later release is one that this API server takes, or an upgrade of the manager could fail.
func TestStatesAreAnOpenSet(t *testing.T) {
	e := newEnv(t)
	job := e.createJob(jobYAML)
	job.Status.State = "Hibernating"
	e.Expect(kube.Status().Update(e.ctx, job)).To(Succeed())
	e.Expect(e.kubectl("get", "resnetjobs", "--no-headers")).To(MatchRegexp(`^net +Hibernating `))
}

// kubectl runs the real one, as a user would, and returns what it prints.
func (e *env) kubectl(args ...string) string {
	e.t.Helper()
	kubeconfig := filepath.Join(e.t.TempDir(), "kubeconfig")
	e.Expect(os.WriteFile(kubeconfig, server.KubeConfig, 0o600)).To(Succeed())
	cmd := exec.Command(filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), append([]string{"--kubeconfig", kubeconfig, "-n", e.ns}, args...)...)
	out, err := cmd.Output()
	e.Expect(err).NotTo(HaveOccurred())
	return string(out)
}
