package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kind is the kind of the one resource in this group.
const Kind = "ResNetTrainingJob"

// ManagedByOperator is the value of spec.managedBy that names this operator, as an empty one does.
const ManagedByOperator = "training.resnet-operator.dev/resnet-operator"

// GroupVersion of this package.
var GroupVersion = schema.GroupVersion{Group: "training.resnet-operator.dev", Version: "v1"}

// SchemeGroupVersion is the name under which generated code looks for GroupVersion.
var SchemeGroupVersion = GroupVersion

var schemeBuilder = runtime.NewSchemeBuilder(func(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &ResNetTrainingJob{}, &ResNetTrainingJobList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
})

// AddToScheme registers the types of this package.
var AddToScheme = schemeBuilder.AddToScheme
