package manifest

import (
	"context"
	"errors"
	"strings"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/config/crd"
)

// jobSchema is the schema of our kind in the forms that the parts of the API server want.
type jobSchema struct {
	structural *structural.Structural
	openAPI    validation.SchemaValidator
	rules      *cel.Validator
}

var theSchema = sync.OnceValues(newSchema)

// newSchema builds the schema from the embedded CustomResourceDefinition, as the API server does when it is applied.
func newSchema() (*jobSchema, error) {
	var definition apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(crd.ResNetTrainingJobs, &definition); err != nil {
		return nil, err
	}
	for _, version := range definition.Spec.Versions {
		if version.Name != v1.GroupVersion.Version {
			continue
		}
		var props apiextensions.JSONSchemaProps
		if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema, &props, nil); err != nil {
			return nil, err
		}
		s, err := structural.NewStructural(&props)
		if err != nil {
			return nil, err
		}
		s = s.DeepCopy() // pruning writes to it
		if err := defaulting.PruneDefaults(s); err != nil {
			return nil, err
		}
		openAPI, _, err := validation.NewSchemaValidator(&props)
		return &jobSchema{s, openAPI, cel.NewValidator(s, true, celconfig.PerCallLimit)}, err
	}
	return nil, errors.New("the CustomResourceDefinition has no version " + v1.GroupVersion.Version)
}

// complete sets the defaults in object and validates it, in the order of the API server's create.
func (s *jobSchema) complete(object map[string]any) error {
	defaulting.PruneNonNullableNullsWithoutDefaults(object, s.structural)
	defaulting.Default(object, s.structural)
	metaErr, unknown := objectmeta.CoerceWithOptions(nil, object, s.structural, true, objectmeta.CoerceOptions{ReturnUnknownFieldPaths: true})
	if metaErr != nil {
		return joined(field.ErrorList{metaErr})
	}
	unknown = append(unknown, pruning.PruneWithOptions(object, s.structural, true, structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})...)
	if len(unknown) > 0 {
		return s.unknownFields(unknown)
	}
	errs := validateName(object)
	errs = append(errs, validation.ValidateCustomResource(nil, object, s.openAPI)...)
	if !blocksRules(errs) {
		ruleErrs, _ := s.rules.Validate(context.Background(), nil, s.structural, object, nil, celconfig.RuntimeCELCostBudget)
		errs = append(errs, ruleErrs...)
	}
	return joined(errs)
}

// validateName checks metadata.name by the general rule; the CustomResourceDefinition narrows it.
func validateName(object map[string]any) field.ErrorList {
	u := unstructured.Unstructured{Object: object}
	path := field.NewPath("metadata", "name")
	if u.GetName() == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	for _, msg := range apivalidation.NameIsDNSSubdomain(u.GetName(), false) {
		errs = append(errs, field.Invalid(path, u.GetName(), msg))
	}
	return errs
}

// blocksRules reports whether CEL rules cannot be evaluated because values are missing or of the wrong type.
// Source: hasBlockingErr in k8s.io/apiextensions-apiserver/pkg/registry/customresource.
func blocksRules(errs field.ErrorList) bool {
	for _, err := range errs {
		switch err.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
			return true
		}
	}
	return false
}

// joined puts errors into one line.
func joined(errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = oneLine(err.Error())
		if err.Field == (*field.Path)(nil).String() { // a rule of the whole object: its message names the field
			texts[i] = err.Detail
		}
	}
	return errors.New(strings.Join(texts, "; "))
}
