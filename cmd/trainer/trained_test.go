package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// command runs the program and returns what it prints.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	root := rootCommand()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestTrainedJob(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "job.yaml")
	picture := filepath.Join(dir, "picture.png")
	var encoded bytes.Buffer
	if err := png.Encode(&encoded, image.NewGray(image.Rect(0, 0, 50, 40))); err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{
		file:    []byte(strings.NewReplacer("BATCH", "4", "DIR", dir).Replace(job)),
		picture: encoded.Bytes(),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := command(t, "evaluate", "-f", file); exit.Code(err) != contract.ExitConfig || !strings.Contains(err.Error(), "train the job first") {
		t.Errorf("before the training: %v", err)
	}
	if _, err := command(t, "train", "-f", file); err != nil {
		t.Fatal(err)
	}
	model := filepath.Join(dir, contract.JobPrefix("default", "tiny", "local"), contract.ModelKey)

	tar := filepath.Join(dir, "checkpoint.pth.tar") // what a file is called does not count
	if content, err := os.ReadFile(model); err != nil || os.WriteFile(tar, content, 0o600) != nil {
		t.Fatal(err)
	}

	var e evaluation
	for _, weights := range []string{"best", "latest", model, tar, "file://" + tar} {
		out, err := command(t, "evaluate", "-f", file, "--weights", weights, "--output", "json")
		if err != nil || json.Unmarshal([]byte(out), &e) != nil || e.Images != 4 || len(e.PerClass) != 10 || e.Loss <= 0 {
			t.Errorf("%s: %v\n%s", weights, err, out)
		}
	}
	if out, err := command(t, "evaluate", "-f", file, "--flip-tta"); err != nil || !strings.Contains(out, "top-1, flip TTA") || strings.Count(out, "\n") < 16 {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := command(t, "predict", "-f", file, picture, "--top", "2"); err != nil || strings.Count(out, " %") != 2 || !strings.HasPrefix(out, picture+": ") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := command(t, "predict", "-f", file, picture, picture, "-o", "json"); err != nil || strings.Count(out, `"image"`) != 2 {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := command(t, "evaluate", "-f", file, "--set", "model.widthMultiplier=0.25", "--weights", model); exit.Code(err) != contract.ExitConfig {
		t.Errorf("weights of another network: %v", err)
	}
	plot := filepath.Join(dir, "lr.svg")
	out, err := command(t, "find-lr", "-f", file, "--steps", "6", "--out", plot)
	if err != nil || !strings.Contains(out, "smoothed loss") {
		t.Errorf("%v\n%s", err, out)
	}
	if svg, err := os.ReadFile(plot); err != nil || !bytes.Contains(svg, []byte("</svg>")) {
		t.Errorf("plot: %v", err)
	}
}
