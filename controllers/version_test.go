package controllers

import (
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/version"
)

type server struct {
	version string
	err     error
}

func (s server) ServerVersion() (*version.Info, error) {
	return &version.Info{GitVersion: s.version}, s.err
}

func TestAClusterThatIsTooOldIsNamed(t *testing.T) {
	for _, c := range []struct {
		server server
		want   string
	}{
		{server{version: "v1.37.2"}, ""},
		{server{version: "v1.32.0-gke.100+abc"}, ""},
		{server{version: "v1.31.14"}, "the cluster is Kubernetes v1.31.14, and 1.32 is the oldest"},
		{server{version: "unknown"}, `says that it is version "unknown"`},
		{server{err: errors.New("connection refused")}, "connection refused"},
	} {
		if err := checkVersion(c.server); (err == nil) != (c.want == "") ||
			err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.server, err, c.want)
		}
	}
}
