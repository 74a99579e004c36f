// Package manifest reads a ResNetTrainingJob from YAML or JSON as the API server would: it refuses unknown fields, and
// takes the defaults and all rules, those in CEL too, from the same CustomResourceDefinition by the same code.
package manifest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Load reads the file at path; "-" is standard input. Each of the assignments, such as training.epochs=3, then changes a
// field of its spec. The error is one line that names the file and each wrong field.
func Load(path string, assignments ...string) (*v1.ResNetTrainingJob, error) {
	var data []byte
	var err error
	if path == "-" {
		path = "standard input"
		data, err = io.ReadAll(os.Stdin)
	} else {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	job, err := Parse(data, assignments...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return job, nil
}

// Parse decodes, defaults and validates the one ResNetTrainingJob among the documents in data. A status is dropped, and
// an empty namespace becomes "default". assignments are as of Load.
func Parse(data []byte, assignments ...string) (*v1.ResNetTrainingJob, error) {
	return ParseIn(metav1.NamespaceDefault, data, assignments...)
}

// ParseIn is Parse with another namespace for a job that names none.
func ParseIn(namespace string, data []byte, assignments ...string) (*v1.ResNetTrainingJob, error) {
	object, err := decode(data)
	if err != nil {
		return nil, err
	}
	schema, err := theSchema()
	if err != nil {
		return nil, err
	}
	delete(object, "status")
	for _, assignment := range assignments {
		if err := set(object, assignment); err != nil {
			return nil, err
		}
	}
	if err := schema.complete(object); err != nil {
		return nil, err
	}
	job := &v1.ResNetTrainingJob{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, job); err != nil {
		return nil, err
	}
	if job.Namespace == "" {
		job.Namespace = namespace
	}
	return job, nil
}

// Default returns a copy of job with the defaults of this release in its spec.
func Default(job *v1.ResNetTrainingJob) (*v1.ResNetTrainingJob, error) {
	schema, err := theSchema()
	if err != nil {
		return nil, err
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&v1.ResNetTrainingJob{Spec: job.Spec})
	if err != nil {
		return nil, err
	}
	defaulting.Default(object, schema.structural)
	defaulted := &v1.ResNetTrainingJob{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, defaulted); err != nil {
		return nil, err
	}
	defaulted.TypeMeta, defaulted.ObjectMeta, defaulted.Status = job.TypeMeta, *job.ObjectMeta.DeepCopy(), *job.Status.DeepCopy()
	return defaulted, nil
}

// decode returns the document of our kind. Documents of other kinds may stand beside it.
func decode(data []byte) (job map[string]any, err error) {
	var others []string
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		object, err := decodeDocument(document)
		if err != nil {
			return nil, err
		}
		apiVersion, kind := object["apiVersion"], object["kind"]
		switch {
		case len(object) == 0:
		case apiVersion != v1.GroupVersion.String() || kind != v1.Kind:
			others = append(others, fmt.Sprintf("apiVersion %v, kind %v", apiVersion, kind))
		case job != nil:
			return nil, fmt.Errorf("holds more than one %s", v1.Kind)
		default:
			job = object
		}
	}
	switch want := fmt.Sprintf("apiVersion %s, kind %s", v1.GroupVersion, v1.Kind); {
	case job != nil:
		return job, nil
	case len(others) > 0:
		return nil, fmt.Errorf("holds %s, not %s", strings.Join(others, "; "), want)
	default:
		return nil, fmt.Errorf("is empty: want %s", want)
	}
}

func decodeDocument(document []byte) (map[string]any, error) {
	data, err := yaml.YAMLToJSONStrict(document) // refuses a key that comes twice
	if err != nil {
		return nil, errors.New(oneLine(err.Error()))
	}
	var object map[string]any
	if err := json.Unmarshal(data, &object); err != nil { // integers become int64, as the schema's code expects
		return nil, errors.New("is not a YAML mapping")
	}
	return object, nil
}

// oneLine joins the lines of a message.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
