// Package installed lets tests use programs that make installs, and says what to do where it has not.
package installed

import (
	"os"
	"testing"
)

// Folder that an environment variable names. Without it the test is skipped, but not in CI; with -short it is skipped,
// too.
func Folder(t testing.TB, variable string) string {
	t.Helper()
	dir := os.Getenv(variable)
	switch {
	case testing.Short():
		t.Skip("-short: runs what " + variable + " names")
	case dir == "" && os.Getenv("CI") != "":
		t.Fatal(variable + " must name the folder that make test-unit installs in CI")
	case dir == "":
		t.Skip(variable + " is not set: use make test-unit, or set it to that folder below bin/")
	}
	return dir
}
