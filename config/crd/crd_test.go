package crd

import (
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"sigs.k8s.io/yaml"
)

// The API server takes the CRD: its rules compile, and their estimated cost is within the limits.
func TestTheAPIServerTakesTheCRD(t *testing.T) {
	var v1 apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(ResNetTrainingJobs, &v1); err != nil {
		t.Fatal(err)
	}
	apiextensionsv1.SetDefaults_CustomResourceDefinition(&v1)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&v1.Spec)
	var crd apiextensions.CustomResourceDefinition
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&v1, &crd, nil); err != nil {
		t.Fatal(err)
	}
	crd.Status.StoredVersions = []string{v1.Spec.Versions[0].Name} // as the API server sets it
	for _, err := range validation.ValidateCustomResourceDefinition(t.Context(), &crd) {
		t.Error(err)
	}
}

// A user cannot fill the memory of the manager with one object: nothing in it is without limit, and all of it is less than
// Kubernetes stores, which is 1.5 MiB.
func TestJobsAreBounded(t *testing.T) {
	var v1 apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(ResNetTrainingJobs, &v1); err != nil {
		t.Fatal(err)
	}
	spec := v1.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	largest := characters(t, spec, "spec")
	t.Logf("the largest job has %d KB", largest/1000)
	if largest > 1500_000 {
		t.Errorf("a job may have %d KB", largest/1000)
	}
}

// characters that a value of the schema has at most, in JSON, when nothing is escaped.
func characters(t *testing.T, s apiextensionsv1.JSONSchemaProps, path string) int64 {
	t.Helper()
	most := func(limit *int64, of string) int64 {
		if limit == nil {
			t.Errorf("%s: has no %s: run make manifests", path, of)
			return 0
		}
		return *limit
	}
	switch {
	case s.XIntOrString:
		return most(s.MaxLength, "maxLength")
	case s.Type == "string" && len(s.Enum) > 0:
		return 64
	case path == "spec.template.env[].value":
		return 65536 / 64 // by the rule on their sum
	case s.Type == "string":
		return most(s.MaxLength, "maxLength") + 2
	case s.Type == "array":
		return most(s.MaxItems, "maxItems") * (1 + characters(t, *s.Items.Schema, path+"[]"))
	case s.AdditionalProperties != nil:
		return most(s.MaxProperties, "maxProperties") * (317 + 4 + characters(t, *s.AdditionalProperties.Schema, path+"{}"))
	case s.Type == "object":
		sum, largest := int64(2), int64(0)
		for name, p := range s.Properties {
			n := int64(len(name)) + 4 + characters(t, p, path+"."+name)
			sum, largest = sum+n, max(largest, n)
		}
		if path == "spec.template.volumes[]" || path == "spec.template.env[].valueFrom" { // one of them
			return largest + 100
		}
		return sum
	}
	return 24 // a number or a boolean
}
