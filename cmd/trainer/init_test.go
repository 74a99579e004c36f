package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// A folder of photographs becomes a job that trains, split or not, without another word.
func TestInit(t *testing.T) {
	t.Chdir(t.TempDir())
	for i := range 16 {
		class := []string{"daisy", "rose"}[i%2]
		for _, folder := range []string{"whole/" + class, "split/train/" + class, "split/test/" + class, "train-only/train/" + class} {
			if err := os.MkdirAll(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			writePicture(t, filepath.Join(folder, fmt.Sprintf("%d.png", i)), 40, 50, make([]byte, 40*50*3))
		}
	}
	if err := os.Symlink("split", "link"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"whole", "split", "train-only", "link"} {
		if _, err := command(t, "init", name, "--epochs", "1"); err != nil {
			t.Fatal(err)
		}
		if _, err := command(t, "train", "-f", name+".yaml", "--set", "model.widthMultiplier=0.125"); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join("models", contract.JobPrefix("default", name, "local"), contract.ModelKey)); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(name + ".tar"); (err == nil) != (name == "whole") {
			t.Errorf("%s.tar: %v", name, err)
		}
	}
	for _, test := range []struct {
		args string
		code contract.ExitCode
		want string
	}{
		{"init", contract.ExitConfig, "want one folder with images: trainer init DIR"},
		{"init nowhere", contract.ExitData, "nowhere: no such file or directory"},
		{"init models", contract.ExitData, "has one class, default: it takes at least two"},
		{"init whole", contract.ExitConfig, "whole.yaml exists: --force overwrites it"},
		{"init whole --force --storage models", contract.ExitConfig, `--storage is "models": want s3://bucket/prefix or file:///folder`},
		{"init whole --force --data flowers.tar", contract.ExitConfig, `--data is "flowers.tar": want s3://bucket/prefix`},
		{"init whole --force --name Rose", contract.ExitConfig, "metadata.name"},
		{"init whole --force --epochs 0", contract.ExitConfig, "spec.training.epochs"},
		{"init whole --force --data s3://data/y.tar --endpoint http://127.0.0.1:9", contract.ExitStorage,
			"s3://data/y.tar at http://127.0.0.1:9 could not be reached"},
	} {
		if _, err := command(t, strings.Fields(test.args)...); exit.Code(err) != test.code || !strings.Contains(err.Error(), test.want) {
			t.Errorf("trainer %s: exit code %d, %v, want %q", test.args, exit.Code(err), err, test.want)
		}
	}
}
