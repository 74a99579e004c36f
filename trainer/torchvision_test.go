package trainer

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
)

// TestTorchvisionWeights: files as torchvision publishes them are tested and fine-tuned as they are; those of another
// architecture are refused.
func TestTorchvisionWeights(t *testing.T) {
	jobOf := func(a v1.Architecture) *v1.ResNetTrainingJob {
		return testJob(t.TempDir(), func(s *spec) {
			s.Model = v1.ModelSpec{Architecture: a, Stem: v1.StemImageNet, NumClasses: new(int32(1000))}
		})
	}
	d, err := loadData(t.Context(), jobOf(""), "")
	if err != nil {
		t.Fatal(err)
	}
	im := d.Test
	images := checkpoint.StateDict{
		"pixels": pytorch.Pack(im.Pixels, int64(im.N), int64(im.H), int64(im.W), int64(im.C)),
		"labels": pytorch.Pack(im.Labels, int64(im.N)),
	}
	other := map[v1.Architecture]v1.Architecture{v1.ResNet18: v1.ResNet50, v1.ResNet50: v1.ResNet18}
	for architecture, another := range other {
		t.Run(string(architecture), func(t *testing.T) {
			name := strings.ToLower(string(architecture))
			file := filepath.Join(t.TempDir(), name+".pth")
			want := pytorch.Call(t, "published", map[string]any{
				"seed": 7, "torchvision": name, "classes": 1000, "mean": d.Mean, "std": d.Std, "file": file,
			}, images)
			e, err := Evaluate(t.Context(), jobOf(architecture), EvaluateOptions{Weights: Weights{ModelFile: file}})
			if err != nil {
				t.Fatal(err)
			}
			pytorch.Compare(t, "loss", []float64{e.Loss}, pytorch.Floats(want["loss"]), 1e-5)

			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			r := buildRun(t, jobOf(architecture))
			if err := r.startFromFile(file, content); err != nil {
				t.Fatal(err)
			}
			w, err := decodeModelFile(file, content)
			if err != nil {
				t.Fatal(err)
			}
			state, err := r.state.Net.StateDict()
			if err != nil {
				t.Fatal(err)
			}
			for key := range state {
				if !bytes.Equal(state[key].Data, w.model[key].Data) {
					t.Errorf("%s is not that of the file", key)
				}
			}

			_, err = Evaluate(t.Context(), jobOf(another), EvaluateOptions{Weights: Weights{ModelFile: file}})
			refused(t, err, file, architecture, another)
			refused(t, buildRun(t, jobOf(another)).startFromFile(file, content), file, architecture, another)
		})
	}
}

func refused(t *testing.T, err error, file string, is, wanted v1.Architecture) {
	t.Helper()
	want := "it is of the architecture " + string(is) + ", spec.model.architecture is " + string(wanted)
	if exit.Code(err) != contract.ExitConfig || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) ||
		strings.Contains(err.Error(), "\n") {
		t.Errorf("exit code %d: %v\nwant %s", exit.Code(err), err, want)
	}
}
