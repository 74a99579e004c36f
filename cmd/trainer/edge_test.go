package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/data"
)

// TestEdgeDocument runs the commands of docs/edge.md. On the float model the examples say what trainer predict says; on
// the int8 one nearly always. $EDGE is examples/edge with its packages installed, Python's in venv.
func TestEdgeDocument(t *testing.T) {
	edge := os.Getenv("EDGE")
	switch {
	case testing.Short():
		t.Skip("-short: trains, and runs Python and Node.js")
	case edge == "" && os.Getenv("CI") != "":
		t.Fatal("EDGE must name the folder of the examples in CI")
	case edge == "":
		t.Skip("EDGE is not set: use make test-unit, or make bin/edge and set it to that folder")
	}
	dir := t.TempDir()
	for name, target := range map[string]string{
		"trainer": os.Args[0], "edge.sh": "../../bench/edge.sh", "classify.py": "../../examples/edge/classify.py",
		"venv": edge + "/venv", "node_modules": edge + "/node_modules",
	} {
		path, err := filepath.Abs(target)
		if err == nil {
			err = os.Symlink(path, filepath.Join(dir, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// Node.js looks for packages beside the file, not the link to it.
	write(t, filepath.Join(dir, "classify.mjs"), string(readFile(t, "../../examples/edge/classify.mjs")))
	pictures := testPictures(t, dir)
	document := string(readFile(t, "../../docs/edge.md"))
	yaml := blocks(document, "yaml")[0]
	write(t, filepath.Join(dir, "edge.yaml"), strings.Replace(yaml, "file:///tmp/models", "file://"+dir+"/models", 1))
	shell := func(command string) string {
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", command)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s\n%v\n%s%s", command, err, out, stderr.Bytes())
		}
		return string(out)
	}
	var printed strings.Builder
	for _, block := range blocks(document, "sh") {
		printed.WriteString(shell(block))
	}
	for _, want := range []string{
		`model/model.int8.onnx\n`, `(?:picture.png\t.+\t.+ %\n){2}`, `float  p50 .+ ms .+ MB  memory [1-9][0-9]* MB\nint8   p50 .+ memory [1-9][0-9]* MB\n`,
		`int8 is [0-9.]+ times as fast .+ of 5 pairs\)\n`,
	} {
		if !regexp.MustCompile(want).MatchString(printed.String()) {
			t.Errorf("the document's commands print no %s:\n%s", want, printed.String())
		}
	}

	names := strings.Join(pictures, " ")
	var predictions []prediction
	predict := "trainer predict -f edge.yaml --weights latest --top 1 --output json "
	if err := json.Unmarshal([]byte(shell(predict+names)), &predictions); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"venv/bin/python classify.py", "node classify.mjs"} {
		for model, least := range map[string]int{"model.onnx": len(pictures), "model.int8.onnx": len(pictures) - 2} {
			same := 0
			lines := strings.Split(strings.TrimSpace(shell(program+" model/"+model+" "+names)), "\n")
			for i, p := range predictions {
				columns := strings.Split(lines[i], "\t")
				var percent float64
				if _, err := fmt.Sscanf(columns[2], "%f %%", &percent); err != nil {
					t.Fatalf("%s: %v", lines[i], err)
				}
				c := p.Classes[0]
				if columns[0] != p.Image || model == "model.onnx" && math.Abs(percent-100*c.Probability) > 0.1 {
					t.Errorf("%s %s: %s, trainer predict says %+v", program, model, lines[i], p)
				}
				if columns[1] == c.Class {
					same++
				}
			}
			if len(lines) != len(pictures) || same < least {
				t.Errorf("%s %s: %d of %d classes are those of trainer predict", program, model, same, len(pictures))
			}
		}
	}

	big := shell(predict + "big.png")
	if err := json.Unmarshal([]byte(big), &predictions); err != nil {
		t.Fatal(err)
	}
	best := predictions[0].Classes[0]
	want := fmt.Sprintf("big.png\t%s\t%.1f %%\n", best.Class, 100*best.Probability)
	if got := shell("venv/bin/python classify.py model/model.onnx big.png"); got != want {
		t.Errorf("a picture of another size: %q, trainer predict says %q", got, want)
	}
}

// testPictures writes test images of the document's data set, the first as picture.png, and big.png, of another size.
func testPictures(t *testing.T, dir string) (names []string) {
	t.Helper()
	n := int32(20)
	d, err := data.Load(t.Context(), data.Source{DatasetSpec: v1.DatasetSpec{Format: v1.Synthetic, MaxTrainImages: &n, MaxTestImages: &n}})
	if err != nil {
		t.Fatal(err)
	}
	im := &d.Test
	for i := range im.N {
		name := fmt.Sprintf("picture%d.png", i)
		if i == 0 {
			name = "picture.png"
		}
		names = append(names, name)
		writePicture(t, filepath.Join(dir, name), im.H, im.W, im.Pixels[i*im.H*im.W*3:])
	}
	gradient := make([]byte, 0, 90*70*3)
	for i := range 90 * 70 {
		gradient = append(gradient, byte(i), byte(i/70*2), byte(i*i/91))
	}
	writePicture(t, filepath.Join(dir, "big.png"), 90, 70, gradient)
	return names
}

func writePicture(t *testing.T, path string, h, w int, rgb []byte) {
	t.Helper()
	picture := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range h * w {
		picture.SetNRGBA(i%w, i/w, color.NRGBA{rgb[3*i], rgb[3*i+1], rgb[3*i+2], 255})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		t.Fatal(err)
	}
	write(t, path, b.String())
}

// blocks of code in a language.
func blocks(document, language string) (all []string) {
	for _, match := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(document, -1) {
		all = append(all, match[1])
	}
	return all
}
