package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// kubernetesVersion is what the components report; it must be that of k8s.io/kubernetes in go.mod.
const kubernetesVersion = "v1.37.2"

// program is an executable that is compiled from a Go module below this directory.
type program struct {
	name    string
	module  string // directory of the go.mod
	pkg     string // package path, or a directory below module
	tags    string
	ldflags string
	links   []string // other names for it
}

var programs = []program{
	{name: "kube", module: ".", pkg: "./kube", ldflags: versionFlags(kubernetesVersion), links: []string{
		"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"}},
	{name: "pause", module: ".", pkg: "./pause"},
	{name: "coredns", module: "coredns", pkg: "."},
	// Without gRPC in its client for Google's storage, which is a fifth of the code.
	{name: "minio", module: "minio", pkg: "github.com/minio/minio", tags: "disable_grpc_modules"},
	{name: "s5cmd", module: "s5cmd", pkg: "github.com/peak/s5cmd/v2"},
}

// versionFlags sets what a release build of Kubernetes would: clients and the version skew checks read it.
func versionFlags(version string) string {
	parts := strings.Split(strings.TrimPrefix(version, "v"), ".")
	var flags []string
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for name, value := range map[string]string{"gitVersion": version, "gitMajor": parts[0], "gitMinor": parts[1]} {
			flags = append(flags, fmt.Sprintf("-X %s.%s=%s", pkg, name, value))
		}
	}
	slices.Sort(flags)
	return strings.Join(flags, " ")
}

// build compiles what is missing or out of date.
func (c *cluster) build() error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return c.buildPrograms()
}

func (c *cluster) buildPrograms() error {
	if err := os.MkdirAll(c.bin(""), 0o755); err != nil {
		return err
	}
	for _, p := range programs {
		if err := c.buildProgram(p); err != nil {
			return fmt.Errorf("build %s: %w", p.name, err)
		}
	}
	return nil
}

// buildProgram skips even the linker if the sources are those of the last build: go itself would link for 7 s.
func (c *cluster) buildProgram(p program) error {
	module := filepath.Join(c.repo, "test", "cluster", p.module)
	sum, err := p.digest(module)
	if err != nil {
		return err
	}
	out, stamp := c.bin(p.name), c.cache("built", p.name)
	if old, err := os.ReadFile(stamp); err == nil && string(old) == sum && exists(out) {
		return nil
	}
	defer c.step("build " + p.name)()
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", p.tags, "-ldflags", "-s -w "+p.ldflags, "-o", out+".new", p.pkg)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, text)
	}
	// Rename, so that a running cluster keeps the file that it has open.
	if err := os.Rename(out+".new", out); err != nil {
		return err
	}
	for _, link := range p.links {
		os.Remove(c.bin(link))
		if err := os.Symlink(p.name, c.bin(link)); err != nil {
			return err
		}
	}
	return writeFile(stamp, sum)
}

// digest covers everything that the executable is made of.
func (p program) digest(module string) (string, error) {
	files := []string{"go.mod", "go.sum"}
	if strings.HasPrefix(p.pkg, ".") {
		own, err := filepath.Glob(filepath.Join(module, p.pkg, "*.go"))
		if err != nil {
			return "", err
		}
		for _, file := range own {
			files = append(files, filepath.Join(p.pkg, filepath.Base(file)))
		}
	}
	version, err := exec.Command("go", "version").Output()
	if err != nil {
		return "", fmt.Errorf("the Go toolchain is needed: %w", err)
	}
	hash := sha256.New()
	fmt.Fprintln(hash, string(version), runtime.GOARCH, p.pkg, p.tags, p.ldflags)
	for _, file := range files {
		if err := hashFile(hash, module, file); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func writeFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// step announces a piece of work; the function that it returns adds how long it took.
func (c *cluster) step(what string) (done func()) {
	began := time.Now()
	fmt.Printf("  %s … ", what)
	return func() { fmt.Printf("%.1f s\n", time.Since(began).Seconds()) }
}
