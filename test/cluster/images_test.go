package main

import (
	"os"
	"strings"
	"testing"
)

// The images of the local cluster are the last stages of the Dockerfile, which copy only what the host puts in their place.
func TestLastStage(t *testing.T) {
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for target, copies := range map[string][]string{
		"manager": {"build-manager/etc/ssl/certs/ca-certificates.crt", "build-manager/out/licenses/", "build-manager/out/manager"},
		"trainer": {"libtorch/etc/ssl/certs/ca-certificates.crt", "libtorch/runtime/", "build-trainer/out/licenses/", "build-trainer/out/trainer"},
	} {
		stage, err := lastStage(string(text), target)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(stage) {
			if f := strings.Fields(line); len(f) > 0 && f[0] == "COPY" {
				got = append(got, f[1])
			}
		}
		if strings.Join(got, " ") != strings.Join(copies, " ") || strings.Count(stage, "\nFROM ") != 1 || !strings.Contains(stage, "\nENTRYPOINT ") {
			t.Errorf("%s copies %v, want %v:\n%s", target, got, copies, stage)
		}
	}
	if _, err := lastStage(string(text), "nobody"); err == nil || !strings.Contains(err.Error(), "no stage nobody") {
		t.Errorf("got %v", err)
	}
}

func TestLocalDigestNeedsThePrograms(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"Dockerfile", "LICENSE", "go.mod", "hack/runtime.sh", "hack/licenses.sh"} {
		if err := writeFile(dir+"/"+file, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := localDigest(dir, "manager"); err == nil || !strings.Contains(err.Error(), "bin/manager is missing: run `make build`") {
		t.Errorf("got %v", err)
	}
	if err := writeFile(dir+"/bin/manager", "1"); err != nil {
		t.Fatal(err)
	}
	one, err := localDigest(dir, "manager")
	if err != nil {
		t.Fatal(err)
	}
	if err := writeFile(dir+"/bin/manager", "2"); err != nil {
		t.Fatal(err)
	}
	if two, err := localDigest(dir, "manager"); err != nil || two == one {
		t.Errorf("another program, the same digest (%v)", err)
	}
}
