package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var requirement = regexp.MustCompile(`(?m)^\t?(?:require )?(\S+\.\S+) (v\S+)`)

// TestVersionsAgree: what the cluster's programs, the manager and the trainer are compiled from has one version in all
// go.mod files, so that `make demo` compiles each package once. That is 1,000 of the manager's 1,100 packages.
func TestVersionsAgree(t *testing.T) {
	files := []string{"../..", ".", "coredns", "s5cmd"}
	first := map[string][2]string{} // module: version, folder
	shared := 0
	for _, dir := range files {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range requirement.FindAllStringSubmatch(string(text), -1) {
			module, version := m[1], m[2]
			want, known := first[module]
			switch {
			case version == "v0.0.0": // a part of Kubernetes that only Kubernetes imports
			case !known:
				first[module] = [2]string{version, dir}
			case version != want[0]:
				t.Errorf("%s is %s in %s/go.mod and %s in %s/go.mod: go get the newer one in both", module, want[0], want[1], version, dir)
			default:
				shared++
			}
		}
	}
	if shared < 100 {
		t.Errorf("%d common requirements: is this how go.mod files look?", shared)
	}
}
