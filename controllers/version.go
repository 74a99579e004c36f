package controllers

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/discovery"

	"github.com/resnet-operator/resnet-operator/api/contract"
)

// checkVersion returns an error that says so if the cluster is too old.
func checkVersion(d discovery.ServerVersionInterface) error {
	info, err := d.ServerVersion()
	if err != nil {
		return fmt.Errorf("ask the API server for its version: %w", err)
	}
	server, err := version.ParseGeneric(info.GitVersion)
	if err != nil {
		return fmt.Errorf("the API server says that it is version %q: %w", info.GitVersion, err)
	}
	if server.LessThan(version.MustParseGeneric(contract.OldestKubernetes)) {
		return fmt.Errorf("the cluster is Kubernetes %s, and %s is the oldest release that this operator works with",
			info.GitVersion, contract.OldestKubernetes)
	}
	return nil
}
