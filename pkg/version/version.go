// Package version tells which build this is. It knows nothing of what was built.
package version

import "runtime/debug"

// Set by the linker: -X github.com/daprd/daprd/pkg/version.version=1.0.0 and the same with commit (see the
// Makefile). Nothing else writes them.
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
	return recorded(info)
}

// recorded is the revision with "-dirty" behind it if the files were not those of it.
func recorded(info *debug.BuildInfo) string {
	var revision, suffix string
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			revision = setting.Value
		case setting.Key == "vcs.modified" && setting.Value == "true":
			suffix = "-dirty"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + suffix
}
