package version

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"testing"
)

func TestRecorded(t *testing.T) {
	tests := map[string]struct {
		settings []debug.BuildSetting
		want     string
	}{
		"nothing recorded": {nil, ""},
		"clean":            {[]debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "false"}}, "abc"},
		"changed":          {[]debug.BuildSetting{{Key: "vcs.modified", Value: "true"}, {Key: "vcs.revision", Value: "abc"}}, "abc-dirty"},
		"changed only":     {[]debug.BuildSetting{{Key: "vcs.modified", Value: "true"}}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := recorded(&debug.BuildInfo{Settings: test.settings}); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

const program = `package main

import (
	"fmt"

	"github.com/daprd/daprd/pkg/version"
)

func main() { fmt.Print(version.Version(), " ", version.Commit()) }
`

// TestLinkerFlags builds programs, since that is what sets the values.
func TestLinkerFlags(t *testing.T) {
	main := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(main, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	const path = "-X github.com/daprd/daprd/pkg/version."
	for flags, want := range map[string]string{
		"": "edge ",
		path + "version=1.2.3 " + path + "commit=abc": "1.2.3 abc",
	} {
		out, err := exec.Command("go", "run", "-ldflags", flags, main).CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("built with %q: %q, %v; want %q", flags, out, err, want)
		}
	}
}
