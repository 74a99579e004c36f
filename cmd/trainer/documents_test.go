package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/test/documents"
	"github.com/resnet-operator/resnet-operator/trainer/group"
)

// documentJob is the job.yaml of the pages: a small one, of the name and the kinds that they speak of.
const documentJob = `
apiVersion: training.resnet-operator.dev/v1
kind: ResNetTrainingJob
metadata: {name: first}
spec:
  model: {widthMultiplier: 0.125}
  dataset: {format: Synthetic, maxTrainImages: 64, maxTestImages: 16}
  training: {epochs: 1, batchSize: 16}
  storage: {uri: "file://DIR/models"}
`

// TestDocuments runs the commands of the documentation that are marked for it, each page in a folder with a job that has
// been trained, and photographs.
func TestDocuments(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: trains")
	}
	if !group.Available {
		t.Skip("this program was built without Gloo")
	}
	pages, err := documents.Commands("../..", "trainer")
	if err != nil || len(pages) < 4 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for page, blocks := range pages {
		t.Run(page, func(t *testing.T) {
			dir := t.TempDir()
			self, err := os.Executable()
			if err == nil {
				err = os.Symlink(self, filepath.Join(dir, "trainer"))
			}
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "job.yaml"), strings.ReplaceAll(documentJob, "DIR", dir))
			if err := os.WriteFile(filepath.Join(dir, "kubectl"), []byte("#!/bin/sh\ncat job.yaml\n"), 0o700); err != nil { // get -o json
				t.Fatal(err)
			}
			for i, class := range []string{"roses", "tulips"} {
				folder := filepath.Join(dir, "photos", "flowers", class)
				if err := os.MkdirAll(folder, 0o700); err != nil {
					t.Fatal(err)
				}
				for n := range 12 {
					writePicture(t, filepath.Join(folder, fmt.Sprintf("%d.jpg", n)), 32, 32, bytes.Repeat([]byte{byte(200 * i), 50, byte(n)}, 32*32))
				}
				writePicture(t, filepath.Join(dir, "photos", class+".jpg"), 60, 50, make([]byte, 60*50*3))
			}
			run := func(line int, commands string) {
				cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", commands)
				cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "OMP_NUM_THREADS=1")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s:%d: %v\n%s\n%s", page, line, err, commands, out)
				}
			}
			if !strings.Contains(blocks[0].Text, "--processes") { // which do not go on with what one process has begun
				run(0, "trainer train -f job.yaml")
			}
			for _, b := range blocks {
				run(b.Line, b.Text)
			}
		})
	}
}
