package trainer

import "runtime/debug"

// commit that the program was built from, set by the linker (Makefile, Dockerfile); "" where nobody said.
var commit string

// Version of the trainer: that of the module, as the Go tool stamped it, or else the commit.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	if commit != "" {
		return commit
	}
	return "unknown"
}
