// Package v1 is the API of resnet-operator: the ResNetTrainingJob, its defaults and its validation rules.
//
// Every option of a training run is defined here and nowhere else. The API server defaults and validates it
// through the generated CRD; the trainer reads the very same type, in a pod and on a laptop.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +kubebuilder:ac:output:package="applyconfiguration"
// +groupName=training.resnet-operator.dev
package v1
