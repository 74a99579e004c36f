package install

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// The commands of docs/install.md, in their order: the first of a section installs the operator, a job is created, and
// the others upgrade and remove the operator. The job stays as it is.
func TestDocumentedInstallationsKeepJobs(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	text, err := os.ReadFile("../../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	release := filepath.Join(t.TempDir(), "release")
	must(t, `hack/release.sh v0.1.0`, "OUT="+release, "PARTS=manifests", "IMAGES=registry.example/ml")
	must(t, `cd "$OUT" && sha256sum --check --quiet SHA256SUMS`, "OUT="+release)
	for section := range strings.SplitSeq(string(text), "\n## ") {
		title, _, _ := strings.Cut(section, "\n")
		commands := blocks(section)
		if len(commands) == 0 {
			continue
		}
		t.Run(title, func(t *testing.T) {
			removeAll(t)
			var uid string
			for i, command := range commands {
				t.Log(must(t, strings.ReplaceAll(command, "bin/release", release)))
				if i == 0 {
					uid = createJob(t, "default")
				}
			}
			if got := jobUID(t, "default"); got != uid {
				t.Errorf("the job is another one: %s, %s", uid, got)
			}
			if len(commands) > 1 {
				if out := must(t, `kubectl get deployments,clusterroles -A -o name | grep resnet-operator || true`); out != "" {
					t.Errorf("was not removed: %s", out)
				}
			}
		})
	}
	removeAll(t)
}

// blocks are the shell commands of a text.
func blocks(text string) (found []string) {
	for rest := text; ; {
		_, after, ok := strings.Cut(rest, "\n```sh\n")
		if !ok {
			return found
		}
		var block string
		block, rest, _ = strings.Cut(after, "\n```")
		found = append(found, block)
	}
}

// The release names its version everywhere, and nothing else.
func TestReleaseNamesItsImages(t *testing.T) {
	release := filepath.Join(t.TempDir(), "release")
	must(t, `hack/release.sh v1.2.3-rc.1`, "OUT="+release, "PARTS=manifests", "IMAGES=registry.example/ml")
	chart := must(t, `helm template resnet-operator --kube-version 1.37.0 "$OUT"/resnet-operator-1.2.3-rc.1.tgz`, "OUT="+release)
	file, err := os.ReadFile(filepath.Join(release, "install.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"install.yaml": string(file), "chart": chart} {
		for _, want := range []string{
			"image: registry.example/ml/manager:v1.2.3-rc.1",
			"--trainer-image=registry.example/ml/trainer:v1.2.3-rc.1",
		} {
			if !strings.Contains(strings.ReplaceAll(text, `"`, ""), want) {
				t.Errorf("%s: no %s", name, want)
			}
		}
		if strings.Contains(text, "resnet-operator/manager") || strings.Contains(text, "resnet-operator/trainer") {
			t.Errorf("%s: an image of another place", name)
		}
	}
}

// What cannot work says what would.
func TestBadCommands(t *testing.T) {
	for script, want := range map[string]string{
		`make release`:                                    `VERSION='': want v and a semantic version, as in: make release VERSION=v0.1.0`,
		`make release VERSION=0.1.0`:                      `VERSION='0.1.0': want v and a semantic version`,
		`make release VERSION=v0.1`:                       `VERSION='v0.1': want v and a semantic version`,
		`make release VERSION=v01.0.0`:                    `VERSION='v01.0.0': want v and a semantic version`,
		`make release VERSION=v0.1.0 IMAGES=ghcr.io/you/`: `IMAGES='ghcr.io/you/': want a registry and a folder`,
		`make release VERSION=v0.1.0 PARTS=chart`:         `PARTS: got 'chart', want manifests, plugin, sboms or images`,
		`helm template resnet-operator charts/resnet-operator --kube-version 1.31.9`: `chart requires kubeVersion: >=1.32.0-0`,
		`hack/undeploy.sh all`: `undeploy.sh: got 'all', want manager or crd`,
	} {
		if out, err := shell(t, script); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v\n%s\nwant %s", script, err, out, want)
		}
	}
}

// The manifest for Krew has each archive of the plugin with its sum.
func TestKrewManifest(t *testing.T) {
	folder := t.TempDir()
	for _, platform := range []string{"linux-amd64", "windows-arm64"} {
		if err := os.WriteFile(filepath.Join(folder, "kubectl-resnet-v0.1.0-"+platform+".tar.gz"), []byte(platform), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var plugin struct {
		Spec struct {
			Version   string
			Platforms []struct {
				Selector         struct{ MatchLabels map[string]string }
				URI, SHA256, Bin string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(must(t, `hack/krew.sh v0.1.0 `+folder, "DOWNLOADS=https://x.example")), &plugin); err != nil {
		t.Fatal(err)
	}
	if plugin.Spec.Version != "v0.1.0" || len(plugin.Spec.Platforms) != 2 {
		t.Fatalf("%+v", plugin)
	}
	last := plugin.Spec.Platforms[1]
	if last.Selector.MatchLabels["os"] != "windows" || last.Selector.MatchLabels["arch"] != "arm64" || last.Bin != "kubectl-resnet.exe" ||
		last.URI != "https://x.example/kubectl-resnet-v0.1.0-windows-arm64.tar.gz" || last.SHA256 != fmt.Sprintf("%x", sha256.Sum256([]byte("windows-arm64"))) {
		t.Errorf("%+v", last)
	}
	if out, err := shell(t, `hack/krew.sh v0.2.0 `+folder); err == nil || !strings.Contains(out, "krew: no kubectl-resnet-v0.2.0-*.tar.gz in "+folder) {
		t.Errorf("%v: %s", err, out)
	}
}
