package crd

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// kubernetes holds the fields whose types, and with them the descriptions of all below, are Kubernetes' own.
var kubernetes = map[string]bool{
	"spec.storage.s3.credentialsSecret":             true,
	"spec.template.affinity":                        true,
	"spec.template.env[]":                           true,
	"spec.template.envFrom[]":                       true,
	"spec.template.imagePullSecrets[]":              true,
	"spec.template.tolerations[]":                   true,
	"spec.template.topologySpreadConstraints[]":     true,
	"spec.template.volumes[].configMap":             true,
	"spec.template.volumes[].csi":                   true,
	"spec.template.volumes[].emptyDir":              true,
	"spec.template.volumes[].image":                 true,
	"spec.template.volumes[].persistentVolumeClaim": true,
	"spec.template.volumes[].secret":                true,
	"status.conditions[]":                           true,
}

// kubectl explain tells of every field what it is, its default, and what each of its values means.
func TestEveryFieldIsDescribed(t *testing.T) {
	var definition apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(ResNetTrainingJobs, &definition); err != nil {
		t.Fatal(err)
	}
	schema := definition.Spec.Versions[0].Schema.OpenAPIV3Schema
	fields := 0
	for _, part := range []string{"spec", "status"} {
		describe(schema.Properties[part], part, func(path string, s apiextensionsv1.JSONSchemaProps, required bool) {
			fields++
			for _, flaw := range flaws(path, s, required) {
				t.Errorf("%s: %s: %q", path, flaw, s.Description)
			}
		})
	}
	if fields < 100 {
		t.Errorf("found only %d fields", fields)
	}
}

// describe calls visit for each field below a schema.
func describe(s apiextensionsv1.JSONSchemaProps, path string, visit func(string, apiextensionsv1.JSONSchemaProps, bool)) {
	if kubernetes[path] {
		return
	}
	if s.Items != nil && s.Items.Schema != nil {
		describe(*s.Items.Schema, path+"[]", visit)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		visit(path+"."+name, s.Properties[name], slices.Contains(s.Required, name))
		describe(s.Properties[name], path+"."+name, visit)
	}
}

// flaws of the description of a field.
func flaws(path string, s apiextensionsv1.JSONSchemaProps, required bool) (found []string) {
	name := path[strings.LastIndexByte(path, '.')+1:]
	if rest, ok := strings.CutPrefix(s.Description, name); !ok || !strings.ContainsAny(rest[:min(1, len(rest))], " :,") {
		found = append(found, "does not begin with the name")
	}
	values := s.Enum
	if s.Items != nil && s.Items.Schema != nil {
		values = s.Items.Schema.Enum
	}
	for _, value := range values {
		var v any
		if err := json.Unmarshal(value.Raw, &v); err != nil || !strings.Contains(s.Description, fmt.Sprintf("\n  - %v: ", v)) {
			found = append(found, fmt.Sprintf("does not explain %s", value.Raw))
		}
	}
	switch text := defaultText(s); {
	case strings.HasPrefix(path, "status."), required, len(s.Properties) > 0 && text == "{}":
	case text != "":
		if !strings.Contains(oneLine(s.Description), "Default: "+text) {
			found = append(found, "does not say the default "+text)
		}
	case !strings.Contains(oneLine(s.Description), "Default: ") && !strings.Contains(s.Description, "Default, "):
		found = append(found, "does not say what holds without it")
	}
	return found
}

// defaultText is the default of a field as a description says it; "" if the schema has none.
func defaultText(s apiextensionsv1.JSONSchemaProps) string {
	if s.Default == nil {
		return ""
	}
	var v any
	if err := json.Unmarshal(s.Default.Raw, &v); err != nil {
		return err.Error()
	}
	switch v := v.(type) {
	case []any:
		texts := make([]string, len(v))
		for i := range v {
			texts[i] = fmt.Sprint(v[i])
		}
		return "[" + strings.Join(texts, ", ") + "]"
	case map[string]any:
		return "{}"
	}
	return fmt.Sprint(v)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
