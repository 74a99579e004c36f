package controllers

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/discovery"
)

// oldestKubernetes has all that the CRD needs: CEL's format library, and selectable fields.
const oldestKubernetes = "1.32"

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
	if server.LessThan(version.MustParseGeneric(oldestKubernetes)) {
		return fmt.Errorf("the cluster is Kubernetes %s, and %s is the oldest release that this operator works with",
			info.GitVersion, oldestKubernetes)
	}
	return nil
}
