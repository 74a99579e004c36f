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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

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

func TestBadSpecsAreRefused(t *testing.T) {
	cases := map[string]struct{ from, to, want string }{
		"unknown format":    {"format: Synthetic", "format: ImageNet", `spec.dataset.format: Unsupported value: "ImageNet": supported values: "FashionMNIST", "MNIST", "CIFAR10", "CIFAR100", "ImageFolder", "Synthetic"`},
		"no data set uri":   {"format: Synthetic", "format: CIFAR10", `spec.dataset.uri: Required value: is required: the s3://, https:// or file:// folder or archive that holds the files of this format`},
		"ftp data set":      {"format: Synthetic", "format: CIFAR10, uri: ftp://x/y", `spec.dataset.uri: Invalid value: "ftp://x/y": must be s3://bucket/prefix, https://host/path or file:///folder`},
		"bad storage":       {"s3://models", "models", `spec.storage.uri: Invalid value: "models": must be s3://bucket/prefix or file:///folder`},
		"bad endpoint":      {"uri: s3://models", "uri: s3://models, s3: {endpoint: minio}", `spec.storage.s3.endpoint: Invalid value: "minio": must be http://host:port or https://host:port`},
		"no epochs":         {"storage:", "training: {epochs: 0}\n  storage:", `spec.training.epochs: Invalid value: 0: spec.training.epochs in body should be greater than or equal to 1`},
		"one image a batch": {"storage:", "training: {batchSize: 1}\n  storage:", `spec.training.batchSize: Invalid value: 1: spec.training.batchSize in body should be greater than or equal to 2`},
		"no learning rate":  {"storage:", "training: {schedule: {maxLR: -1}}\n  storage:", `spec.training.schedule.maxLR: Invalid value: -1: spec.training.schedule.maxLR in body should be greater than 0`},
		"three betas":       {"storage:", "training: {optimizer: {betas: [0.1, 0.2, 0.3]}}\n  storage:", `spec.training.optimizer.betas: Too many: 3: must have at most 2 items`},
		"no memory":         {"storage:", "resources: {memory: \"0\"}\n  storage:", `spec.resources.memory: Invalid value: "0": must be more than 0`},
		"two GPUs":          {"storage:", "resources: {gpus: 2}\n  storage:", `spec.resources.gpus: Invalid value: 2: spec.resources.gpus in body should be less than or equal to 1`},
		"a dot in the name": {"name: net", "name: net.v2", `Invalid value: metadata.name must be at most 50 lower-case letters, digits and '-': the names of pods are made from it`},
		"a long name":       {"name: net", "name: " + strings.Repeat("n", 51), `Invalid value: metadata.name must be at most 50`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(jobYAML, c.from, c.to, 1)
			job := &unstructured.Unstructured{} // not our Go type, which cannot hold every mistake
			if err := yaml.Unmarshal([]byte(text), job); err != nil {
				t.Fatal(err)
			}
			job.SetNamespace("default")
			err := kube.Create(t.Context(), job)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestWhatDecidesTheNumbersIsImmutable(t *testing.T) {
	e := newEnv(t)
	e.createJob(jobYAML)
	for field, change := range map[string]func(*v1.ResNetTrainingJobSpec){
		"spec.dataset":  func(s *v1.ResNetTrainingJobSpec) { s.Dataset.MaxTrainImages = ptr.To[int32](9) },
		"spec.training": func(s *v1.ResNetTrainingJobSpec) { s.Training.Epochs = 9 },
		"spec.storage":  func(s *v1.ResNetTrainingJobSpec) { s.Storage.URI = "s3://other" },
	} {
		job := e.job()
		change(&job.Spec)
		err := kube.Update(e.ctx, job)
		if err == nil || !strings.Contains(err.Error(), field+": Invalid value: is immutable: create another job") {
			t.Errorf("%s: got %v", field, err)
		}
	}
	job := e.job()
	job.Spec.Suspend, job.Spec.Image, job.Spec.Retry.MaxFailures = true, "other:1", 9
	job.Spec.Resources.Memory = ptr.To(resource.MustParse("8Gi"))
	e.Expect(kube.Update(e.ctx, job)).To(Succeed(), "the rest may change")
}

func TestColumns(t *testing.T) {
	e := newEnv(t)
	job := e.createJob(jobYAML)
	job.Status = v1.ResNetTrainingJobStatus{
		State: v1.StateRunning, Attempt: 2,
		Progress:   &v1.ProgressStatus{Epoch: "12/20", Loss: "0.2345", Accuracy: "91.42%", BestAccuracy: "91.50%", ImagesPerSecond: "201", ETA: "3m20s"},
		Checkpoint: &v1.CheckpointStatus{Name: "00012-00004800-a2", URI: "s3://models/x", Time: metav1.Now()},
	}
	e.Expect(kube.Status().Update(e.ctx, job)).To(Succeed())

	e.Expect(e.kubectl("get", "resnetjobs")).To(MatchRegexp(
		`(?m)^NAME +STATE +EPOCH +LOSS +ACCURACY +AGE\nnet +Running +12/20 +0.2345 +91.42% +\d+s$`))
	e.Expect(e.kubectl("get", "resnetjob", "net", "-o", "wide")).To(MatchRegexp(
		`BEST +IMAGES/S +ETA +ATTEMPT +CHECKPOINT\n.* 91.50% +201 +3m20s +2 +00012-00004800-a2`))
	e.Expect(e.kubectl("get", "resnetjobs", "--field-selector", "status.state=Failed", "-o", "name")).To(BeEmpty())
	e.Expect(e.kubectl("get", "resnetjobs", "--field-selector", "status.state=Running", "-o", "name")).To(ContainSubstring("/net"))
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
