package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPackages: hack/packages.sh installs what is missing, under whatever name a release has it, and says at once what cannot be had.
func TestPackages(t *testing.T) {
	const build = "g++, \ngit, \nmake, \npkg-config, \nca-certificates, \nlibtorch-dev, \nlibgloo-dev, \nlibopenblas0-openmp, \nlibjpeg62-turbo-dev, \n"
	for _, test := range []struct {
		name      string
		installed string // as dpkg-query lists it
		apt       string // what apt-get install says before it fails; "" lets it succeed
		want      string // of the output
		missing   string // a program that there is not
		ok        bool
	}{
		{name: "Debian 12", installed: build + "libtcmalloc-minimal4, \n", ok: true},
		{name: "Debian 13", installed: build + "libtcmalloc-minimal4t64, libtcmalloc-minimal4 (= 2.16-1)\n", ok: true},
		{name: "one is missing", installed: build, want: "packages: installing libtcmalloc-minimal4\n", ok: true},
		{name: "Ubuntu 24.04", apt: "E: Unable to locate package libtorch-dev\nE: Package 'libjpeg62-turbo-dev' has no installation candidate\n",
			want: "have no libjpeg62-turbo-dev, libtorch-dev: it needs Debian 12 or 13, or docker, kind and CLUSTER=kind\n"},
		{name: "no space", apt: "E: You don't have enough free space\n", want: "free space\npackages: apt-get could not install "},
		{name: "without Go", missing: "go", want: "packages: Go is missing: install Go 1."},
		{name: "not Debian", missing: "dpkg-query",
			want: "packages: this needs Debian 12 or 13, or docker, kind and CLUSTER=kind; missing: g++ git make"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.want != "" && test.missing == "" && os.Geteuid() != 0 {
				t.Skip("packages are installed by root")
			}
			dir := t.TempDir()
			for name, script := range map[string]string{
				"go": "", "npm": "", "dpkg-query": `printf "$INSTALLED" | sed 's/^/installed /'`,
				"apt-get": `case "$*" in *" install "*) printf "$APT"; [ -z "$APT" ] ;; esac`,
			} {
				if name == test.missing {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range []string{"sed", "dirname", "tr", "awk", "grep", "id", "mktemp", "rm", "chmod", "tail", "sort"} {
				program, err := exec.LookPath(name)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(program, filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("/bin/bash", "../../hack/packages.sh", "build")
			cmd.Env = []string{"PATH=" + dir, "INSTALLED=" + test.installed, "APT=" + test.apt}
			out, err := cmd.CombinedOutput()
			if (err == nil) != test.ok || !strings.Contains(string(out), test.want) || test.want == "" && len(out) > 0 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
