package chart

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// stages reads the Dockerfile with BuildKit's own parser and linter, which need no engine.
func stages(t *testing.T) []instructions.Stage {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, description, _, message string, at []parser.Range) {
		t.Errorf("Dockerfile: %s: %s (%s) %v", rule, message, description, at)
	}})
	for _, w := range parsed.Warnings {
		t.Errorf("Dockerfile: %s", w.Short)
	}
	all, _, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// targets are the stages that images are made of.
func targets(t *testing.T) (names []string) {
	for _, s := range stages(t) {
		if s.BaseName == "base" {
			names = append(names, s.Name)
		}
	}
	return names
}

var numeric = regexp.MustCompile(`^[1-9][0-9]*:[1-9][0-9]*$`)

// TestDockerfile: each binary has an image of its own, with nothing but itself and the roots in it, run by a user that is none.
func TestDockerfile(t *testing.T) {
	binaries, err := filepath.Glob(filepath.Join(root, "cmd", "*"))
	if err != nil {
		t.Fatal(err)
	}
	all := targets(t)
	var want []string
	for _, b := range binaries {
		want = append(want, filepath.Base(b))
	}
	if got := slices.Sorted(slices.Values(all)); !slices.Equal(got, want) {
		t.Errorf("the targets are %v, want one for each of %v", got, want)
	}
	if last := all[len(all)-1]; last != "daprd" {
		t.Errorf("without a target %s is built", last)
	}
	for _, s := range stages(t) {
		switch {
		case s.Name == "base":
			var user string
			for _, c := range s.Commands {
				if u, ok := c.(*instructions.UserCommand); ok {
					user = u.User
				}
			}
			if s.BaseName != "scratch" || !numeric.MatchString(user) {
				t.Errorf("the images are from %q and run by %q", s.BaseName, user)
			}
		case s.BaseName == "base":
			image(t, &s)
		}
	}
}

func image(t *testing.T, s *instructions.Stage) {
	t.Helper()
	for _, c := range s.Commands {
		switch c := c.(type) {
		case *instructions.CopyCommand:
			if c.From != "build" || len(c.SourcePaths) != 1 || c.SourcePaths[0] != "/src/bin/"+s.Name {
				t.Errorf("%s: copies %v of %s", s.Name, c.SourcePaths, c.From)
			}
		case *instructions.EntrypointCommand:
			if c.PrependShell || strings.Join(c.CmdLine, " ") != "/"+s.Name {
				t.Errorf("%s: runs %v", s.Name, c.CmdLine)
			}
		case *instructions.ExposeCommand:
		default:
			t.Errorf("%s: %s", s.Name, c.Name())
		}
	}
}

// static: an image from scratch has no interpreter for a binary, and no libraries.
func static(t *testing.T, path string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return
	}
	binary, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	for _, p := range binary.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("%s is linked dynamically", filepath.Base(path))
		}
	}
}
