package main

import (
	"os"
	"runtime"
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

func TestBases(t *testing.T) {
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	b, err := baseOf(string(text), "", runtime.GOARCH)
	if err != nil || !strings.Contains(string(text), "ARG DEBIAN="+strings.TrimPrefix(b.debian, "library/")+"\n") ||
		!strings.Contains(string(text), "ARG GOLANG="+strings.TrimPrefix(b.golang, "library/")+"\n") {
		t.Errorf("got %+v, %v", b, err)
	}
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	b, err = baseOf(string(text), "sid", other)
	if err != nil || !strings.HasPrefix(b.debian, other) || !strings.HasSuffix(b.debian, "/debian:sid-slim") ||
		!strings.HasPrefix(b.golang, "library/golang:") || !strings.HasSuffix(b.golang, "-sid") {
		t.Errorf("of another release and architecture: got %+v, %v", b, err)
	}
	for _, other := range []string{"", "ARG GOLANG=golang:1.26-bookworm\nARG DEBIAN=debian:trixie-slim\n"} {
		if b, err := baseOf(other, "", "amd64"); err == nil || !strings.Contains(err.Error(), "ARG DEBIAN=debian:RELEASE-slim") {
			t.Errorf("%q: got %+v, %v", other, b, err)
		}
	}
}

func TestArchitectures(t *testing.T) {
	if err := canBuildFor(runtime.GOARCH); err != nil {
		t.Error(err)
	}
	if err := canBuildFor("riscv64"); err == nil || !strings.Contains(err.Error(), `"riscv64": want amd64 or arm64`) {
		t.Errorf("got %v", err)
	}
	defer func(before map[string]string) { emulation = before }(emulation)
	emulation = map[string]string{"s390x": "/proc/none/qemu"}
	if err := canBuildFor("s390x"); err == nil || !strings.Contains(err.Error(), "hack/packages.sh qemu-user-static") {
		t.Errorf("got %v", err)
	}
}

func TestHostRelease(t *testing.T) {
	for text, want := range map[string]string{
		"ID=debian\nVERSION_CODENAME=bookworm\nNAME=x\n": "bookworm",
		"VERSION_CODENAME=\"trixie\"\n":                  "trixie",
		"VERSION_CODENAME=noble\n":                       "",
		"ID=arch\n":                                      "",
	} {
		if got, err := hostRelease(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
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
