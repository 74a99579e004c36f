package trainer

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// TestResumeFrom goes on from another job: with its whole state to the same end, and with its weights alone.
func TestResumeFrom(t *testing.T) {
	source := t.TempDir()
	if _, err := runJob(t.Context(), t, testJob(source), Options{}); err != nil {
		t.Fatal(err)
	}
	model := read(t, source, contract.ModelKey)
	middle := "file://" + path(source, "checkpoints/"+contract.CheckpointName(1, 8, 1))
	file := filepath.Join(t.TempDir(), "weights.safetensors")
	other := filepath.Join(t.TempDir(), "checkpoint.pth.tar") // what it is called does not count
	for _, name := range []string{file, other} {
		if err := os.WriteFile(name, model, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	from := func(uri string, weightsOnly bool) func(*spec) {
		return func(s *spec) { s.ResumeFrom = &v1.ResumeFromSpec{URI: uri, WeightsOnly: weightsOnly} }
	}
	for name, test := range map[string]struct {
		from func(*spec)
		step int64 // of the checkpoint that is saved at once
	}{
		"checkpoint":           {from(middle, false), 8},
		"job":                  {from("file://"+path(source, ""), false), 16},
		"checkpoint's weights": {from(middle, true), 0},
		"job's weights":        {from("file://"+path(source, ""), true), 0},
		"file":                 {from("file://"+file, false), 0},
		"file of another name": {from("file://"+other, false), 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			keep := func(s *spec) { s.Checkpoint.KeepLast = 10 }
			p, err := runJob(t.Context(), t, testJob(dir, test.from, keep), Options{})
			if err != nil || p.Step != 16 {
				t.Fatalf("step %d, %v", p.Step, err)
			}
			first := read(t, dir, "checkpoints/"+contract.CheckpointName(int32(test.step/8), test.step, 1)+"/model.safetensors")
			if test.step == 8 && !bytes.Equal(first, read(t, source, "checkpoints/"+contract.CheckpointName(1, 8, 1)+"/model.safetensors")) {
				t.Error("other weights than those of the source")
			}
			if same := bytes.Equal(read(t, dir, contract.ModelKey), model); same != (test.step > 0) {
				t.Errorf("the model is that of the source: %v", same)
			}
		})
	}
}

// TestResumeFromExportsTheBestOfItsOwn: the best epoch of all was before the state that is taken over, and is not ours.
func TestResumeFromExportsTheBestOfItsOwn(t *testing.T) {
	source := t.TempDir()
	if _, err := runJob(t.Context(), t, testJob(source, func(s *spec) { s.Checkpoint.KeepLast = 10 }), Options{}); err != nil {
		t.Fatal(err)
	}
	// Let the history say that epoch 1 cannot be surpassed.
	for _, name := range []string{contract.CheckpointName(1, 8, 1), contract.CheckpointName(2, 16, 1)} {
		manifest := path(source, "checkpoints/"+name+"/manifest.json")
		text, err := os.ReadFile(manifest)
		if err != nil {
			t.Fatal(err)
		}
		changed := regexp.MustCompile(`("epoch": 1,\s+"step": 8,\s+"trainLoss": [^,]+,\s+"testLoss": [^,]+,\s+"accuracy": )[^,]+`).ReplaceAll(text, []byte("${1}1"))
		if bytes.Equal(text, changed) {
			t.Fatalf("no accuracy of epoch 1 in %s", text)
		}
		if err := os.WriteFile(manifest, changed, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for name, epoch := range map[string]int32{contract.CheckpointName(1, 8, 1): 1, contract.CheckpointName(2, 16, 1): 2} {
		dir := t.TempDir()
		_, err := runJob(t.Context(), t, testJob(dir, func(s *spec) {
			s.ResumeFrom = &v1.ResumeFromSpec{URI: "file://" + path(source, "checkpoints/"+name)}
			s.Export.Weights = v1.WeightsBest
		}), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if pointer := read(t, dir, contract.BestKey); !bytes.Contains(pointer, []byte(contract.CheckpointName(epoch, int64(8*epoch), 1))) {
			t.Errorf("the best is not that of epoch %d: %s", epoch, pointer)
		}
		best := read(t, dir, "checkpoints/"+contract.CheckpointName(epoch, int64(8*epoch), 1)+"/model.safetensors")
		if !bytes.Equal(weightsOf(t, read(t, dir, contract.ModelKey)), weightsOf(t, best)) {
			t.Errorf("the model is not that of epoch %d", epoch)
		}
	}
}

// weightsOf are the tensors of a file, in the order of their names.
func weightsOf(t *testing.T, file []byte) (all []byte) {
	t.Helper()
	tensors, _, err := checkpoint.DecodeSafetensors(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		all = append(all, tensors[name].Data...)
	}
	return all
}

func TestFineTuningLeavesOnlyTheLastLayerRandom(t *testing.T) {
	give := buildRun(t, testJob(t.TempDir()))
	take := buildRun(t, testJob(t.TempDir(), func(s *spec) { s.Training.Seed = 2 }))
	random, err := take.state.Net.StateDict()
	if err != nil {
		t.Fatal(err)
	}
	weights, err := give.state.Net.StateDict()
	if err != nil {
		t.Fatal(err)
	}
	last := weights["fc.weight"]
	features := last.Shape[1]
	weights["fc.weight"] = checkpoint.Tensor{DType: "F32", Shape: []int64{7, features}, Data: last.Data[:7*features*4]}
	weights["fc.bias"] = checkpoint.Tensor{DType: "F32", Shape: []int64{7}, Data: weights["fc.bias"].Data[:7*4]}
	if err := take.startFromWeights("w", weights); err != nil {
		t.Fatal(err)
	}
	got, err := take.state.Net.StateDict()
	if err != nil {
		t.Fatal(err)
	}
	for name := range got {
		want := weights
		if strings.HasPrefix(name, "fc.") {
			want = random
		}
		if !bytes.Equal(got[name].Data, want[name].Data) {
			t.Errorf("%s is not what it should be", name)
		}
	}
}

func TestResumeFromErrors(t *testing.T) {
	source := t.TempDir()
	if _, err := runJob(t.Context(), t, testJob(source), Options{}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, content, 0o666); err != nil {
			t.Fatal(err)
		}
		return "file://" + p
	}
	other, err := checkpoint.EncodeSafetensors(checkpoint.StateDict{"w": {DType: "F32", Shape: []int64{1}, Data: make([]byte, 4)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "damaged")
	if err := os.CopyFS(damaged, os.DirFS(path(source, "checkpoints/"+contract.CheckpointName(2, 16, 1)))); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(damaged, "model.safetensors"), 100); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/page":
			io.WriteString(w, "<!doctype html>")
		case "/secret":
			w.WriteHeader(http.StatusForbidden)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	for name, test := range map[string]struct {
		uri         string
		weightsOnly bool
		change      func(*spec)
		code        contract.ExitCode
		want        string
	}{
		"another sum": {write("e.pth", other), false, func(s *spec) { s.ResumeFrom.SHA256 = v1.Checksum(strings.Repeat("0", 64)) },
			contract.ExitData, "e.pth: its SHA-256 is not 0000"},
		"a sum of a folder": {"file://" + path(source, ""), false, func(s *spec) { s.ResumeFrom.SHA256 = v1.Checksum(strings.Repeat("0", 64)) },
			contract.ExitConfig, "spec.resumeFrom.sha256 is for a file, and file://"},
		"not on the server":  {server.URL + "/none.pth?SECRET", false, nil, contract.ExitConfig, "/none.pth: not found"},
		"a page of a server": {server.URL + "/page?SECRET", false, nil, contract.ExitData, "/page: it is neither a PyTorch nor a safetensors file"},
		"a forbidden file":   {server.URL + "/secret?SECRET", false, nil, contract.ExitConfig, "the server answers 403 Forbidden: make the file public"},
		"nothing there":      {"file://" + dir + "/none", false, nil, contract.ExitConfig, "is neither a checkpoint, nor the folder of a job that has one"},
		"no file":            {"file://" + dir + "/none.safetensors", false, nil, contract.ExitConfig, "none.safetensors is neither a checkpoint, nor the folder of a job that has one, nor a file with weights"},
		"a file as a folder": {write("c.pth.tar", []byte("?")) + "/", false, nil, contract.ExitConfig, "not a directory"},
		"no weights":         {write("d.pth.tar", []byte("?")), false, nil, contract.ExitData, "d.pth.tar: it is neither a PyTorch nor a safetensors file"},
		"not safetensors":    {write("a.safetensors", []byte("?")), false, nil, contract.ExitData, "a.safetensors: it is neither a PyTorch nor a safetensors file"},
		"another network":    {write("b.safetensors", other), false, nil, contract.ExitConfig, "is it of the same spec.model?"},
		"damaged":            {"file://" + damaged, false, nil, contract.ExitData, "is damaged: model.safetensors has not the "},
		"another recipe": {"file://" + path(source, ""), false, func(s *spec) { s.Training.BatchSize = 16 }, contract.ExitConfig,
			"belongs to another configuration: spec.training.batchSize was 8 and is now 16: set it back, or set spec.resumeFrom.weightsOnly"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := runJob(t.Context(), t, testJob(t.TempDir(), func(s *spec) {
				s.ResumeFrom = &v1.ResumeFromSpec{URI: test.uri, WeightsOnly: test.weightsOnly}
				if test.change != nil {
					test.change(s)
				}
			}), Options{})
			if exit.Code(err) != test.code || !strings.HasPrefix(err.Error(), "spec.resumeFrom.") || !strings.Contains(err.Error(), test.want) ||
				strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "\n") {
				t.Errorf("exit code %d: %v\nwant %d: %s", exit.Code(err), err, test.code, test.want)
			}
		})
	}
}
