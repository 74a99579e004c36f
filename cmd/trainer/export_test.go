package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/export"
)

// exportJob trains on few images.
const exportJob = `
apiVersion: training.resnet-operator.dev/v1
kind: ResNetTrainingJob
metadata: {name: tiny}
spec:
  dataset: {format: Synthetic, maxTrainImages: 8, maxTestImages: 4}
  training: {epochs: 1, batchSize: 4}
  export: {formats: [PyTorch]}
  storage: {uri: "file://DIR/bucket"}
`

func TestExport(t *testing.T) {
	dir := t.TempDir()
	at := func(elements ...string) string { return filepath.Join(append([]string{dir}, elements...)...) }
	file := at("job.yaml")
	write(t, file, strings.ReplaceAll(exportJob, "DIR", dir))
	if err := execute(t.Context(), []string{"train", "-f", file}); err != nil {
		t.Fatal(err)
	}
	folder := at("bucket", contract.JobPrefix("default", "tiny", "local"))
	left := filepath.Join(folder, contract.ModelPrefix)
	checkFiles(t, left, "model.safetensors", "model.pt", "model.json")
	weights := readFile(t, filepath.Join(left, "model.safetensors"))
	name := contract.CheckpointName(1, 2, 1)
	write(t, at("broken.pt"), "PK\x03\x04")
	write(t, at("other.yaml"), strings.NewReplacer("DIR", dir, "name: tiny", "name: other").Replace(exportJob))

	all := []string{"model.safetensors", "model.pt", "model.onnx", "model.json"}
	for i, test := range []struct {
		args  []string
		files []string
	}{
		{nil, []string{"model.pt", "model.json"}},
		{[]string{"--format", "pt,onnx,safetensors"}, all},
		{[]string{"--format", "Safetensors", "--format", "ONNX", "--weights", "best"}, []string{"model.safetensors", "model.onnx", "model.json"}},
		{[]string{"--format", "safetensors", "--weights", "latest"}, []string{"model.safetensors", "model.json"}},
		{[]string{"--format", "safetensors", "--weights", name}, []string{"model.safetensors", "model.json"}},
		{[]string{"--format", "safetensors", "--weights", folder}, []string{"model.safetensors", "model.json"}},
		{[]string{"--format", "safetensors", "--weights", "file://" + folder}, []string{"model.safetensors", "model.json"}},
		{[]string{"--format", "safetensors", "--weights", filepath.Join(folder, "checkpoints", name)}, []string{"model.safetensors", "model.json"}},
		{[]string{"--format", "safetensors", "--weights", filepath.Join(left, "model.pt")}, []string{"model.safetensors", "model.json"}},
		{[]string{"--format", "safetensors", "--weights", filepath.Join(left, "model.pt")}, []string{"model.safetensors", "model.json"}},
		{[]string{"--format", "safetensors", "--weights", filepath.Join(left, "model.safetensors"), "-f", at("other.yaml")}, []string{"model.safetensors", "model.json"}},
		{[]string{"--format", "onnx-int8,onnx", "--calibration-batches", "2", "--reduce-range"}, []string{"model.int8.onnx", "model.onnx", "model.json"}},
	} {
		out := at(fmt.Sprint("out", i), "model")
		if err := execute(t.Context(), append([]string{"export", "-f", file, "--out", out}, test.args...)); err != nil {
			t.Errorf("%v: %v", test.args, err)
			continue
		}
		checkFiles(t, out, test.files...)
		if got, err := os.ReadFile(filepath.Join(out, "model.safetensors")); err == nil && !bytes.Equal(got, weights) {
			t.Errorf("%v: other weights than those that the job left", test.args)
		}
	}
	checkCard(t, at("out1", "model"), at("out10", "model"))
	var card export.Card
	if err := json.Unmarshal(readFile(t, at("out11", "model", "model.json")), &card); err != nil {
		t.Fatal(err)
	}
	if q := card.Files["model.int8.onnx"].Quantization; q == nil || q.WeightLimit != 63 || q.CalibrationImages != 8 || len(q.Float) != 0 {
		t.Errorf("quantization: %+v", q)
	}

	for name, test := range map[string]struct {
		args []string
		code contract.ExitCode
		want string
	}{
		"no file":             {[]string{"export"}, contract.ExitConfig, "--file is required"},
		"missing file":        {[]string{"export", "-f", at("nowhere.yaml")}, contract.ExitConfig, "nowhere.yaml"},
		"format":              {[]string{"export", "-f", file, "--format", "tflite"}, contract.ExitConfig, `--format: "tflite" is not known: use safetensors, pt, onnx or onnx-int8`},
		"calibration":         {[]string{"export", "-f", file, "--format", "onnx-int8", "--calibration-batches", "0"}, contract.ExitConfig, "--calibration-batches is 0: it must be 1 or more"},
		"not trained":         {[]string{"export", "-f", at("other.yaml")}, contract.ExitConfig, `has no checkpoint "latest": train the job first`},
		"no such checkpoint":  {[]string{"export", "-f", file, "--weights", "00009-00000009-a9"}, contract.ExitConfig, `has no checkpoint "00009-00000009-a9"`},
		"no such folder":      {[]string{"export", "-f", file, "--weights", at("nowhere")}, contract.ExitConfig, "--weights: "},
		"scheme":              {[]string{"export", "-f", file, "--weights", "ftp://x/y"}, contract.ExitConfig, `--weights: "ftp://x/y" must be s3://`},
		"missing model":       {[]string{"export", "-f", file, "--weights", at("nowhere.pt")}, contract.ExitConfig, "nowhere.pt"},
		"broken model":        {[]string{"export", "-f", file, "--weights", at("broken.pt")}, contract.ExitData, "broken.pt: it is no zip archive"},
		"out cannot be made":  {[]string{"export", "-f", file, "--out", filepath.Join(file, "x")}, contract.ExitConfig, "--out: "},
		"other than the spec": {[]string{"export", "-f", at("narrow.yaml"), "--weights", filepath.Join(left, "model.pt")}, contract.ExitConfig, "state dict: "},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.ReplaceAll(exportJob, "DIR", dir)
			write(t, at("narrow.yaml"), strings.Replace(text, "spec:", "spec:\n  model: {architecture: ResNet34}", 1))
			err := execute(t.Context(), test.args)
			if exit.Code(err) != test.code || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("exit code %d, %v; want %d, %s", exit.Code(err), err, test.code, test.want)
			}
		})
	}
}

// checkCard compares a card that was made from the job's own with one made by reading the data anew.
func checkCard(t *testing.T, out, anew string) {
	t.Helper()
	var card, other export.Card
	for dir, into := range map[string]*export.Card{out: &card, anew: &other} {
		if err := json.Unmarshal(readFile(t, filepath.Join(dir, "model.json")), into); err != nil {
			t.Fatal(err)
		}
	}
	if card.Name != "default/tiny" || card.Parameters != 11_173_962 || len(card.Classes) != 10 || card.Training.Epochs != 1 ||
		card.Result == nil || card.Result.Epoch != 1 || card.Result.Step != 2 || card.Versions["libtorch"] == "" || len(card.Files) != 3 {
		t.Errorf("card: %+v", card)
	}
	if fmt.Sprint(card.Input, card.Classes) != fmt.Sprint(other.Input, other.Classes) || other.Result != nil {
		t.Errorf("from the job's card: %+v\nfrom the data: %+v", card, other)
	}
}

func checkFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(want) {
		t.Errorf("%s holds %v (%v), want %v", dir, entries, err, want)
	}
	for _, name := range want {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
