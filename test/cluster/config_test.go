package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestRenderEverything(t *testing.T) {
	s := settings{NodeIP: nodeIP, PodSubnet: podSubnet, CgroupRoot: cgroupRoot, Etc: nodeEtc, Socket: criSocket,
		PauseImage: containerdName(pauseImage), Snapshotter: "overlayfs"}
	for name, want := range map[string]string{
		"containerd.toml":      `sandbox_image = "docker.io/resnet-operator/pause:dev"`,
		"kubelet.yaml":         `clusterDNS: ["10.200.0.1"]`,
		"cni/10-pods.conflist": `"subnet": "10.244.0.0/24"`,
		"Corefile":             "bind 10.200.0.1",
	} {
		text, err := rendered(name, s)
		if err != nil || !strings.Contains(string(text), want) || !utf8.Valid(text) {
			t.Errorf("%s: %v; want %s in\n%s", name, err, want, text)
		}
		if filepath.Ext(name) == ".conflist" && !json.Valid(text) {
			t.Errorf("%s is not JSON:\n%s", name, text)
		}
	}
}

func TestContainerdName(t *testing.T) {
	for name, want := range map[string]string{
		"resnet-operator/manager:dev":   "docker.io/resnet-operator/manager:dev",
		"registry.example:5000/a:dev":   "registry.example:5000/a:dev",
		"localhost/resnet-operator/a:1": "localhost/resnet-operator/a:1",
	} {
		if got := containerdName(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestParseSources(t *testing.T) {
	const lines = "Debian http://mirror/debian-security bookworm-security main\n" +
		"Elsewhere http://elsewhere/ bookworm main\n" +
		"Debian http://mirror/debian bookworm contrib\n" +
		"Debian http://mirror/debian bookworm main\n"
	for _, release := range []string{"bookworm", "trixie"} {
		got := parseSources(lines, "bookworm", release)
		if len(got) != 2 || got[0].suite != release || got[1].suite != release+"-security" {
			t.Errorf("%s: got %+v", release, got)
		}
	}
}

func TestKubeconfigIsComplete(t *testing.T) {
	ca, err := newAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := issueAll(ca); err != nil {
		t.Fatal(err)
	}
	if err := ca.kubeconfig(filepath.Join(ca.dir, "kubeconfig"), "admin", apiServer); err != nil {
		t.Fatal(err)
	}
}
