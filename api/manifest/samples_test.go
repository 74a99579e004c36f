package manifest

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

func TestSamplesAreValid(t *testing.T) {
	files, err := filepath.Glob("../../config/samples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d samples, %v", len(files), err)
	}
	for _, file := range files {
		if _, err := Load(file); err != nil {
			t.Error(err)
		}
	}
}

// config/samples/full.yaml has each field of the spec, in force or behind a #, with its comment, and no other.
func TestTheFullSampleHasEveryField(t *testing.T) {
	const sample = "../../config/samples/full.yaml"
	data, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^( *)#([^ \n]|  )`).ReplaceAllString(string(data), "$1$2")
	var job map[string]any
	if err := yaml.UnmarshalStrict([]byte(text), &job); err != nil {
		t.Fatal("with all fields in force: ", err)
	}
	if err := yaml.UnmarshalStrict([]byte(text), &v1.ResNetTrainingJob{}); err != nil {
		t.Error("with all fields in force: ", err)
	}
	has := map[string]bool{}
	paths(job["spec"], "spec", has)
	for field := range fields(reflect.TypeFor[v1.ResNetTrainingJobSpec](), "spec") {
		if !has[field] {
			t.Errorf("%s: add %s with a comment", sample, field)
		}
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, " ") && regexp.MustCompile(`^ *(- )?[a-zA-Z0-9]+:`).MatchString(line) &&
			!strings.Contains(line, " # ") && !strings.HasPrefix(strings.TrimSpace(lines[i-1]), "# ") && !sameKind(lines[i-1], line) {
			t.Errorf("%s:%d: no comment: %s", sample, i+1, line)
		}
	}
}

// sameKind: the comment of the line before speaks of this one too, as maxTrainImages and maxTestImages, or mean and std.
func sameKind(before, line string) bool {
	indent := func(s string) int { return len(s) - len(strings.TrimLeft(s, " ")) }
	return indent(before) == indent(line) && strings.Contains(before, " # ") || strings.HasPrefix(line, "  name:") || line == "spec:"
}

// paths of the values in a document.
func paths(value any, path string, has map[string]bool) {
	has[path] = true
	switch v := value.(type) {
	case map[string]any:
		for key, child := range v {
			paths(child, path+"."+key, has)
		}
	case []any:
		for _, child := range v {
			paths(child, path+"[]", has)
		}
	}
}

// fields of a type of the API; those of Kubernetes' own types are not ours to explain.
func fields(t reflect.Type, path string) map[string]bool {
	found := map[string]bool{}
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		if t.Kind() == reflect.Slice {
			path += "[]"
		}
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.PkgPath() != reflect.TypeFor[v1.ResNetTrainingJob]().PkgPath() {
		return found
	}
	for f := range slices.Values(reflect.VisibleFields(t)) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		found[path+"."+name] = true
		maps.Copy(found, fields(f.Type, path+"."+name))
	}
	return found
}
