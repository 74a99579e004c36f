// Package install tests the ways to install the operator: that the Helm chart and config/ are the same, and that what
// removes it asks before jobs are lost.
package install

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const (
	chartDir = "../../charts/resnet-operator"
	crdName  = "CustomResourceDefinition /resnettrainingjobs.training.resnet-operator.dev"
)

// variants are installations: values of the chart, and the kustomizations that they stand for; CONFIG is our folder.
var variants = map[string]struct {
	namespace, values string
	kustomizations    []string
}{
	"default": {kustomizations: []string{`resources: [CONFIG/default]`}},
	"another namespace": {
		namespace:      "ml",
		kustomizations: []string{"namespace: ml\nresources: [CONFIG/default]"},
	},
	"local": {
		values:         `{highAvailability: false, resources: {requests: {cpu: null}}}`,
		kustomizations: []string{`resources: [CONFIG/local]`},
	},
	"namespaced": {
		namespace:      "team",
		values:         `namespaced: true`,
		kustomizations: []string{"namespace: team\nresources: [CONFIG/namespaced]"},
	},
	"one manager": {
		values:         `highAvailability: false`,
		kustomizations: []string{"resources: [CONFIG/default]\ncomponents: [CONFIG/single]"},
	},
	"Prometheus": {
		values:         `prometheus: {enabled: true}`,
		kustomizations: []string{"resources: [CONFIG/default]\ncomponents: [CONFIG/prometheus]"},
	},
	"Grafana": {
		values:         `grafana: {enabled: true}`,
		kustomizations: []string{"resources: [CONFIG/default]\ncomponents: [CONFIG/grafana]"},
	},
	"Grafana with a label of its own": {
		values: `grafana: {enabled: true, label: {name: boards, value: ml}, annotations: {grafana_folder: ML}}`,
		kustomizations: []string{`
resources: [CONFIG/default]
components: [CONFIG/grafana]
patches:
  - target: {kind: ConfigMap, name: resnet-operator-dashboards}
    patch: |
      - {op: replace, path: /metadata/labels, value: {boards: ml}}
      - {op: add, path: /metadata/annotations, value: {grafana_folder: ML}}`},
	},
	"OpenShift": {
		values:         `platformAssignsUser: true`,
		kustomizations: []string{"resources: [CONFIG/default]\ncomponents: [CONFIG/openshift]"},
	},
	"network policies": {
		values: `networkPolicy: {enabled: true, jobNamespaces: [vision, speech]}`,
		kustomizations: []string{
			"resources: [CONFIG/default]\ncomponents: [CONFIG/network-policy]",
			"namespace: vision\nresources: [CONFIG/network-policy/trainer]",
			"namespace: speech\nresources: [CONFIG/network-policy/trainer]",
		},
	},
	"tenants": {
		values:         `tenants: {enabled: true}`,
		kustomizations: []string{`resources: [CONFIG/default, CONFIG/tenants]`},
	},
	"tenants with lists": {
		values: `
tenants: {enabled: true, allowed: {secrets: team-*}, namespaceSelector: {matchLabels: {team: vision}}}`,
		kustomizations: []string{`
resources: [CONFIG/default, CONFIG/tenants]
patches:
  - target: {kind: ConfigMap, name: resnet-operator-tenants}
    patch: |
      - {op: replace, path: /data/secrets, value: team-*}
  - target: {kind: ValidatingAdmissionPolicyBinding}
    patch: |
      - {op: replace, path: /spec/matchResources/namespaceSelector, value: {matchLabels: {team: vision}}}`},
	},
	"everything": {
		values: `
{highAvailability: false, platformAssignsUser: true, prometheus: {enabled: true}, networkPolicy: {enabled: true}}`,
		kustomizations: []string{"resources: [CONFIG/default]\n" +
			"components: [CONFIG/single, CONFIG/openshift, CONFIG/prometheus, CONFIG/network-policy]"},
	},
}

// The chart renders what kustomize does, object by object. Two things differ: Helm makes the namespace, and the CRD
// says that Helm must not delete it.
func TestChartAndKustomizationsAreTheSame(t *testing.T) {
	for name, v := range variants {
		t.Run(name, func(t *testing.T) {
			namespace := v.namespace
			if namespace == "" {
				namespace = "resnet-operator"
			}
			got, err := helm(t, namespace, v.values)
			if err != nil {
				t.Fatal(err)
			}
			want := objects{}
			for _, k := range v.kustomizations {
				want.add(t, kustomize(t, k))
			}
			delete(want, "Namespace /"+namespace)
			if crd := got[crdName]; crd != nil {
				annotations := crd["metadata"].(map[string]any)["annotations"].(map[string]any)
				if annotations["helm.sh/resource-policy"] != "keep" {
					t.Errorf("helm uninstall deletes the CRD: %v", annotations)
				}
				delete(annotations, "helm.sh/resource-policy")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("kustomize (-), Helm (+):\n%s", diff)
			}
		})
	}
}

// A new folder of config/ gets values of the chart.
func TestTheChartKnowsAllOfConfig(t *testing.T) {
	entries, err := os.ReadDir("../../config")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, v := range variants {
		all.WriteString(strings.Join(v.kustomizations, "\n"))
	}
	for _, entry := range entries {
		part := slices.Contains([]string{"crd", "manager", "rbac"}, entry.Name()) // of config/default
		inVariant := regexp.MustCompile(`CONFIG/` + entry.Name() + `\b`).MatchString(all.String())
		if !part && !inVariant && entry.Name() != "samples" {
			t.Errorf("config/%s has no variant above", entry.Name())
		}
	}
}

func TestImagesOfTheChart(t *testing.T) {
	got, err := helm(t, "resnet-operator", `
image: {repository: registry.example:5000/manager, tag: v1, pullPolicy: Always}
trainer: {image: {repository: registry.example:5000/trainer, tag: v2}}
imagePullSecrets: [registry]
args: [--verbose]
`)
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(got["Deployment resnet-operator/resnet-operator"])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"image: registry.example:5000/manager:v1\n", "imagePullPolicy: Always\n", "- name: registry\n",
		"- --trainer-image=registry.example:5000/trainer:v2\n        - --verbose\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

// A wrong value is refused with its name.
func TestBadValues(t *testing.T) {
	for values, want := range map[string]string{
		`replicas: 2`:                                     "'replicas' not allowed",
		`highAvailability: "yes"`:                         "at '/highAvailability': got string, want boolean",
		`image: {tag: 1.0}`:                               "at '/image/tag': got number, want string",
		`image: {repository: ""}`:                         "at '/image/repository': minLength: got 0, want 1",
		`args: [verbose]`:                                 "at '/args/0': 'verbose' does not match pattern '^--'",
		`goMemLimit: 920M`:                                "at '/goMemLimit': '920M' does not match pattern",
		`tenants: {allowed: {secret: x}}`:                 "at '/tenants/allowed': additional properties 'secret' not allowed",
		`{namespaced: true, prometheus: {enabled: true}}`: "prometheus.enabled: a manager with namespaced: true has no metrics",
		`{namespaced: true, tenants: {enabled: true}}`:    "tenants.enabled: the policy is cluster-wide",
	} {
		if _, err := helm(t, "resnet-operator", values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", values, err, want)
		}
	}
}

// The schema knows every list of config/tenants.
func TestListsOfTenants(t *testing.T) {
	text, err := os.ReadFile("../../config/tenants/allowed.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var allowed struct{ Data map[string]string }
	if err := yaml.Unmarshal(text, &allowed); err != nil {
		t.Fatal(err)
	}
	values, err := yaml.Marshal(map[string]any{"tenants": map[string]any{"enabled": true, "allowed": allowed.Data}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := helm(t, "resnet-operator", string(values)); err != nil || len(allowed.Data) == 0 {
		t.Errorf("%d lists: %v", len(allowed.Data), err)
	}
}

// objects by kind, namespace and name.
type objects map[string]map[string]any

// addYAML adds the documents of a YAML file.
func (o objects) addYAML(t *testing.T, text string) {
	t.Helper()
	for _, doc := range regexp.MustCompile(`(?m)^---$`).Split(text, -1) {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(doc), &object); err != nil {
			t.Fatalf("%v:\n%s", err, doc)
		}
		if len(object) == 0 {
			continue
		}
		metadata := object["metadata"].(map[string]any)
		namespace, _ := metadata["namespace"].(string)
		id := object["kind"].(string) + " " + namespace + "/" + metadata["name"].(string)
		o.add(t, objects{id: object})
	}
}

func (o objects) add(t *testing.T, more objects) {
	t.Helper()
	for id, object := range more {
		if o[id] != nil {
			t.Errorf("there are two of %s", id)
		}
		o[id] = object
	}
}

// helm renders the chart, without its tests. It returns an error if the values are wrong.
func helm(t *testing.T, namespace, values string) (objects, error) {
	t.Helper()
	chart, err := loader.LoadDir(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := common.ReadValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	release := common.ReleaseOptions{Name: "resnet-operator", Namespace: namespace, IsInstall: true}
	all, err := util.ToRenderValues(chart, parsed, release, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return nil, err
	}
	found := objects{}
	for name, text := range files {
		if strings.HasSuffix(name, ".yaml") && !strings.Contains(name, "/tests/") {
			found.addYAML(t, text)
		}
	}
	return found, nil
}

// kustomize renders an overlay.
func kustomize(t *testing.T, kustomization string) objects {
	t.Helper()
	root, err := filepath.Abs("../../config")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	relative, err := filepath.Rel(dir, root) // kustomize takes no absolute paths
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(kustomization, "CONFIG", relative)
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	out, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	found := objects{}
	found.addYAML(t, string(out))
	return found
}
