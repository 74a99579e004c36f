package integration

import (
	"path/filepath"
	"testing"
)

// The API server takes each of config/samples, and what else is in their files.
func TestSamplesAreTaken(t *testing.T) {
	samples, err := filepath.Glob("../../config/samples/*.yaml")
	if err != nil || len(samples) == 0 {
		t.Fatalf("%d samples, %v", len(samples), err)
	}
	e := newEnv(t)
	for _, sample := range samples {
		t.Log(e.kubectl("apply", "--server-side", "--dry-run=server", "-f", sample))
	}
}
