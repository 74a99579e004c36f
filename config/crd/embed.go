// Package crd holds the CustomResourceDefinition that the API server is given, for programs that want to say the same.
package crd

import _ "embed"

// ResNetTrainingJobs is the CustomResourceDefinition of api/v1, as YAML.
//
//go:embed training.resnet-operator.dev_resnettrainingjobs.yaml
var ResNetTrainingJobs []byte
