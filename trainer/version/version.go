// Package version tells which trainer this is.
package version

import "runtime/debug"

// commit is set by the linker (Makefile, Dockerfile).
var commit string

// Commit is the commit that the program was built from; "" where nobody said.
func Commit() string { return commit }

// String is the version of the trainer: that of the module, as the Go tool stamped it, or else the commit.
func String() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	if commit != "" {
		return commit
	}
	return "unknown"
}
