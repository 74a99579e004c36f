package manifest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

const valid = `
apiVersion: training.resnet-operator.dev/v1
kind: ResNetTrainingJob
metadata:
  name: cifar10
spec:
  dataset: {format: CIFAR10, uri: s3://datasets/cifar10}
  storage: {uri: s3://models/team-a, s3: {endpoint: "http://minio:9000"}}
`

func ptr[T any](v T) *T { return &v }

func TestDefaults(t *testing.T) {
	job, err := Parse([]byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	if job.Name != "cifar10" || job.Namespace != "default" {
		t.Errorf("%s/%s", job.Namespace, job.Name)
	}
	want := v1.ResNetTrainingJobSpec{
		Model:   v1.ModelSpec{Architecture: v1.ResNet18, WidthMultiplier: 1, Normalization: v1.BatchNorm, Activation: v1.ReLU},
		Dataset: v1.DatasetSpec{Format: v1.CIFAR10, URI: "s3://datasets/cifar10"},
		Training: v1.TrainingSpec{
			Epochs: 20, BatchSize: 128, Precision: v1.PrecisionAuto, GradientAccumulationSteps: 1, Sampler: v1.SamplerShuffle,
			Evaluation: v1.EvaluationSpec{EveryEpochs: 1},
			Optimizer:  v1.OptimizerSpec{Type: v1.AdamW, WeightDecay: ptr(0.0005), DecayNormAndBias: ptr(true), Betas: []float64{0.9, 0.999}, Eps: 1e-8},
			Schedule:   v1.ScheduleSpec{Type: v1.OneCycle, MaxLR: 0.003, PctStart: ptr(0.3), DivFactor: 25, FinalDivFactor: 10000},
			Augmentation: v1.AugmentationSpec{
				Policy: v1.PolicyNone, RandomCropPadding: ptr[int32](4), PaddingMode: v1.PaddingConstant,
			},
		},
		Storage:    v1.StorageSpec{URI: "s3://models/team-a", S3: &v1.S3Spec{Endpoint: "http://minio:9000", Region: "us-east-1"}},
		Checkpoint: v1.CheckpointSpec{EveryEpochs: 1, KeepLast: 2, KeepBest: ptr(true), MaxLagSeconds: 1800},
		Export: v1.ExportSpec{
			Formats: []v1.ExportFormat{v1.ExportSafetensors, v1.ExportPyTorch, v1.ExportONNX}, CalibrationBatches: 32, Weights: v1.WeightsLast,
		},
		Resources:               v1.ResourcesSpec{GPUResource: "nvidia.com/gpu", CPU: ptr(resource.MustParse("2")), Memory: ptr(resource.MustParse("4Gi"))},
		Retry:                   v1.RetrySpec{MaxFailures: 3, BackoffSeconds: ptr[int32](10)},
		ProgressDeadlineSeconds: ptr[int32](1800),
		KeepLogs:                ptr(true),
	}
	if diff := cmp.Diff(want, job.Spec); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
}

func TestDefaultKeepsWhatIsSet(t *testing.T) {
	job, err := Parse([]byte(valid + "  resources: {cpu: 3}\n"))
	if err != nil {
		t.Fatal(err)
	}
	older := job.DeepCopy()
	older.Spec.Resources.Memory, older.Spec.Retry = nil, v1.RetrySpec{} // as if they were newer than the job
	got, err := Default(older)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(job, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if older.Spec.Resources.Memory != nil {
		t.Error("its argument was changed")
	}
}

func TestZerosAreKept(t *testing.T) {
	job, err := Parse([]byte(valid + "  training: {optimizer: {weightDecay: 0}, augmentation: {randomCropPadding: 0, horizontalFlip: false}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	got := job.Spec.Training
	if *got.Optimizer.WeightDecay != 0 || *got.Augmentation.RandomCropPadding != 0 || *got.Augmentation.HorizontalFlip {
		t.Errorf("%+v", got)
	}
}

func TestOtherDocumentsAndStatusAreIgnored(t *testing.T) {
	data := "apiVersion: v1\nkind: Secret\n---\n# a comment\n---" + valid + "status: {state: Failed}\n"
	job, err := Parse([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	if job.Status.State != "" {
		t.Errorf("status %+v", job.Status)
	}
}

func TestErrorsNameTheField(t *testing.T) {
	spec := func(s string) string { return valid + "  " + s + "\n" }
	replace := func(old, new string) string { return strings.Replace(valid, old, new, 1) }
	for name, test := range map[string]struct {
		yaml string
		want []string
	}{
		"misspelt field":     {spec("training: {epoch: 3}"), []string{`unknown field "spec.training.epoch": did you mean "epochs"?`}},
		"other case":         {spec("training: {schedule: {maxLr: 3}}"), []string{`unknown field "spec.training.schedule.maxLr": did you mean "maxLR"?`}},
		"unlike any field":   {spec("colour: red"), []string{`unknown field "spec.colour"`}},
		"two misspelt":       {spec("training: {epoch: 3, bathSize: 3}"), []string{`"batchSize"`, `"epochs"`}},
		"metadata":           {replace("name: cifar10", "name: cifar10\n  label: {a: b}"), []string{`unknown field "metadata.label"`}},
		"key twice":          {spec("image: a\n  image: b"), []string{`"image"`, "line"}},
		"too small":          {spec("training: {epochs: 0}"), []string{"spec.training.epochs", "greater than or equal to 1"}},
		"two too small":      {spec("training: {epochs: 0, batchSize: 1}"), []string{"spec.training.epochs", "; ", "spec.training.batchSize"}},
		"not positive":       {spec("training: {schedule: {maxLR: 0}}"), []string{"spec.training.schedule.maxLR", "greater than 0"}},
		"wrong type":         {spec("training: {epochs: many}"), []string{"spec.training.epochs", "integer"}},
		"not in the enum":    {spec("training: {precision: FP8}"), []string{"spec.training.precision", `"Auto", "FP32", "BF16"`}},
		"list too long":      {spec("training: {optimizer: {betas: [0.1, 0.2, 0.3]}}"), []string{"spec.training.optimizer.betas", "2 items"}},
		"CEL rule":           {replace("uri: s3://models", "uri: gs://models"), []string{"spec.storage.uri", "must be s3://bucket/prefix or file:///folder"}},
		"CEL rule on two":    {replace("{format: CIFAR10, uri: s3://datasets/cifar10}", "{format: CIFAR10}"), []string{"spec.dataset.uri", "is required"}},
		"missing":            {replace("  dataset: {format: CIFAR10, uri: s3://datasets/cifar10}\n", ""), []string{"spec.dataset", "Required value"}},
		"no name":            {replace("name: cifar10", "labels: {}"), []string{"metadata.name: Required value"}},
		"name not DNS":       {replace("name: cifar10", "name: CIFAR10"), []string{"metadata.name", "lower"}},
		"name too long":      {replace("name: cifar10", "name: "+strings.Repeat("a", 51)), []string{"metadata.name", "at most 50"}},
		"other kind":         {replace("kind: ResNetTrainingJob", "kind: Job"), []string{"kind Job", "not apiVersion training.resnet-operator.dev/v1, kind ResNetTrainingJob"}},
		"other version":      {replace("dev/v1", "dev/v2"), []string{"dev/v2"}},
		"empty":              {"# nothing\n", []string{"is empty", "kind ResNetTrainingJob"}},
		"not a mapping":      {"- 1\n", []string{"mapping"}},
		"not YAML":           {"a: [1\n", []string{"yaml: line"}},
		"two jobs":           {valid + "---" + valid, []string{"more than one"}},
		"JSON, cut off":      {`{"apiVersion": "training.resnet-operator.dev/v1", "kind"`, []string{"yaml"}},
		"no quantity":        {spec("resources: {cpu: two}"), []string{"spec.resources.cpu"}},
		"no memory":          {spec("resources: {memory: 0}"), []string{"spec.resources.memory", "more than 0"}},
		"wrong metadata":     {replace("name: cifar10", "name: 7"), []string{"metadata"}},
		"null instead of {}": {replace("storage: {uri: s3://models/team-a, s3: {endpoint: \"http://minio:9000\"}}", "storage: null"), []string{"spec.storage"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(test.yaml))
			if err == nil {
				t.Fatal("no error")
			}
			t.Log(err)
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in %q", want, err)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "job.yaml")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte("a: b"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.HasPrefix(err.Error(), path+": ") {
		t.Errorf("wrong file: %v", err)
	}
}

func TestEditDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"epoch", "epochs", 1}} {
		if got := editDistance(test.a, test.b); got != test.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

// BenchmarkSchema is the cost that a start of the trainer pays once.
func BenchmarkSchema(b *testing.B) {
	for b.Loop() {
		if _, err := newSchema(); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(valid))
	f.Add([]byte("spec: null\nkind: ResNetTrainingJob\napiVersion: training.resnet-operator.dev/v1"))
	f.Add([]byte("metadata: []\nkind: ResNetTrainingJob\napiVersion: training.resnet-operator.dev/v1"))
	f.Fuzz(func(_ *testing.T, data []byte) { Parse(data) })
}
