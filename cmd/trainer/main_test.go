package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

const job = `
apiVersion: training.resnet-operator.dev/v1
kind: ResNetTrainingJob
metadata: {name: tiny}
spec:
  dataset: {format: Synthetic, maxTrainImages: 8, maxTestImages: 4}
  training: {epochs: 1, batchSize: BATCH}
  storage: {uri: "file://DIR"}
`

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	file := func(batch string) string {
		path := filepath.Join(dir, batch+".yaml")
		text := strings.NewReplacer("BATCH", batch, "DIR", filepath.Join(dir, batch)).Replace(job)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, test := range map[string]struct {
		args    []string
		attempt string
		code    contract.ExitCode
		want    string
	}{
		"version":           {args: []string{"version"}},
		"trains":            {args: []string{"train", "-f", file("4"), "--serve", "localhost:0"}},
		"unknown command":   {args: []string{"trian"}, code: contract.ExitConfig, want: "trian"},
		"unknown flag":      {args: []string{"train", "--lr=1"}, code: contract.ExitConfig, want: "--lr"},
		"no file":           {args: []string{"train"}, code: contract.ExitConfig, want: "--file is required"},
		"missing file":      {args: []string{"train", "-f", "nowhere.yaml"}, code: contract.ExitConfig, want: "nowhere.yaml"},
		"invalid job":       {args: []string{"train", "-f", file("1")}, code: contract.ExitConfig, want: "spec.training.batchSize"},
		"batch too large":   {args: []string{"train", "-f", file("9")}, code: contract.ExitConfig, want: "set it to 8 or less"},
		"attempt no number": {args: []string{"train", "-f", file("4")}, attempt: "one", code: contract.ExitConfig, want: contract.EnvAttempt},
		"address":           {args: []string{"train", "-f", file("4"), "--serve", "nowhere"}, code: contract.ExitConfig, want: "--serve"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.attempt != "" {
				t.Setenv(contract.EnvAttempt, test.attempt)
			}
			err := execute(t.Context(), test.args)
			if exit.Code(err) != test.code {
				t.Fatalf("exit code %d (%v), want %d", exit.Code(err), err, test.code)
			}
			if err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q, want %q", err, test.want)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "4", contract.JobPrefix("default", "tiny", "local"), contract.ModelKey)); err != nil {
		t.Error(err)
	}
}
