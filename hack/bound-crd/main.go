// Command bound-crd gives every string, list and map of a CRD's spec that has no limit a limit: those of Kubernetes' own
// types, which carry none. Without them one object of a user fills the manager's memory, and CEL rules cost too much.
package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/yaml"
)

// limits by how a field's path ends, the longest one first: how long a string may be, how many items a list or map may
// have. They are Kubernetes' own where it has some, and else far above what people write.
var limits = []struct {
	end  string
	most int
}{
	// A label has a key of 253 + 1 + 63 characters, and a value of 63.
	{".matchFields[].values[]", 253}, // names of nodes
	{".values[]", 63},
	{".matchLabels{}", 63},
	{".nodeSelector{}", 63},
	{".namespaces[]", 63},
	{"LabelKeys[]", 317},
	{".topologyKey", 317},
	{".matchExpressions[].key", 317},
	{".tolerations[].key", 317},
	{".tolerations[].value", 63},

	{".env[].value", 32768}, // and see the rule on all of them
	{"spec.image", 1024},
	{".reference", 1024},
	{".path", 512},
	{".volumeAttributes{}", 512},

	{".matchFields[].values", 1},
	{".values", 32},
	{".matchExpressions", 4},
	{".matchFields", 1},
	{".nodeSelectorTerms", 6},
	{"nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution", 6},
	{"DuringSchedulingIgnoredDuringExecution", 4},
	{".matchLabels", 8},
	{"LabelKeys", 4},
	{".namespaces", 8},
}

// Of what has none of these endings.
const (
	mostCharacters = 253
	mostItems      = 16
	mostQuantity   = 64
	mostKey        = 317
)

func main() {
	for _, file := range os.Args[1:] {
		if err := boundFile(file); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			os.Exit(1)
		}
	}
}

func boundFile(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var crd map[string]any
	if err := yaml.Unmarshal(text, &crd); err != nil {
		return err
	}
	versions, _ := at(crd, "spec", "versions").([]any)
	if len(versions) == 0 {
		return fmt.Errorf("spec.versions: is no list: this is no CustomResourceDefinition")
	}
	for _, v := range versions {
		spec, ok := at(v, "schema", "openAPIV3Schema", "properties", "spec").(map[string]any)
		if !ok {
			return fmt.Errorf("spec.versions[].schema: has no spec")
		}
		bound(spec, "spec")
	}
	out, err := yaml.Marshal(crd)
	if err != nil {
		return err
	}
	return os.WriteFile(file, append([]byte("---\n"), bytes.TrimPrefix(out, []byte("---\n"))...), 0o644)
}

func at(value any, path ...string) any {
	for _, key := range path {
		m, _ := value.(map[string]any)
		value = m[key]
	}
	return value
}

// bound adds limits to a schema and what is below it.
func bound(schema map[string]any, path string) {
	set := func(key string, otherwise int) {
		if _, ok := schema[key]; !ok {
			schema[key] = limit(path, otherwise)
		}
	}
	_, enum := schema["enum"]
	switch {
	case schema["x-kubernetes-int-or-string"] == true:
		set("maxLength", mostQuantity)
	case schema["type"] == "string" && !enum:
		set("maxLength", mostCharacters)
	case schema["type"] == "array":
		set("maxItems", mostItems)
		if items, ok := schema["items"].(map[string]any); ok {
			bound(items, path+"[]")
		}
	case schema["type"] == "object":
		if values, ok := schema["additionalProperties"].(map[string]any); ok {
			set("maxProperties", mostItems)
			boundKeys(schema, path)
			bound(values, path+"{}")
		}
		properties, _ := schema["properties"].(map[string]any)
		for name, p := range properties {
			if p, ok := p.(map[string]any); ok {
				bound(p, path+"."+name)
			}
		}
	}
}

// boundKeys adds a rule for the keys of a map, for which OpenAPI's schemas of Kubernetes have no word.
func boundKeys(schema map[string]any, path string) {
	rules, _ := schema["x-kubernetes-validations"].([]any)
	most := mostKey
	if strings.HasSuffix(path, ".sha256") { // names of files
		most = 1024
	}
	schema["x-kubernetes-validations"] = append(rules, map[string]any{
		"rule":    fmt.Sprintf("self.all(key, key.size() <= %d)", most),
		"message": fmt.Sprintf("keys must have at most %d characters", most),
	})
}

func limit(path string, otherwise int) int {
	for _, l := range limits {
		if strings.HasSuffix(path, l.end) {
			return l.most
		}
	}
	return otherwise
}
