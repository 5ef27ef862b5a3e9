// Package version tells which build this is.
package version

import "runtime/debug"

// Set by linker flags (see the Makefile).
var (
	version = "edge"
	commit  = ""
)

// Version is the release, "edge" for a build without one.
func Version() string { return version }

// Commit is the revision of the source: what the linker was told, else what the Go tool recorded, else "".
func Commit() string {
	if commit != "" {
		return commit
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value
		}
	}
	return ""
}
