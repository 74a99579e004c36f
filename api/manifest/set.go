package manifest

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// set changes one field of an object as the assignment says: training.epochs=3, which is short for
// spec.training.epochs=3, or metadata.name=try. The value is YAML; an empty one removes the field, so that it takes its
// default.
func set(object map[string]any, assignment string) error {
	path, text, ok := strings.Cut(assignment, "=")
	path = strings.TrimSpace(path)
	if !ok || path == "" || strings.HasPrefix(path, ".") || strings.HasSuffix(path, ".") || strings.Contains(path, "..") {
		return fmt.Errorf("--set %q: want FIELD=VALUE, such as training.epochs=3", assignment)
	}
	data, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		return fmt.Errorf("--set %s: the value %q is not YAML", path, text)
	}
	var value any
	if err := json.Unmarshal(data, &value); err != nil { // integers become int64, as the schema's code expects
		return fmt.Errorf("--set %s: %w", path, err)
	}
	parts := strings.Split(path, ".")
	if parts[0] != "spec" && parts[0] != "metadata" {
		parts = append([]string{"spec"}, parts...)
	}
	parent := object
	for i, part := range parts[:len(parts)-1] {
		switch next := parent[part].(type) {
		case map[string]any:
			parent = next
		case nil:
			child := map[string]any{}
			parent[part] = child
			parent = child
		default:
			return fmt.Errorf("--set %s: %s holds no fields", path, strings.Join(parts[:i+1], "."))
		}
	}
	last := parts[len(parts)-1]
	if value == nil {
		delete(parent, last)
	} else {
		parent[last] = value
	}
	return nil
}
