package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGeneratedCodeIsCurrent fails when a .proto file, a plugin or an option
// changed and the code was not generated again, or when a file was left behind.
func TestGeneratedCodeIsCurrent(t *testing.T) {
	fresh := t.TempDir()
	if err := generate(t.Context(), "..", fresh); err != nil {
		t.Fatal(err)
	}
	want, got := generatedFiles(t, fresh), generatedFiles(t, "..")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("generated files, run go run ./pkg/proto/gen and remove what it does not write (-fresh +here):\n%s", diff)
	}
	for _, path := range want {
		if !bytes.Equal(content(t, fresh, path), content(t, "..", path)) {
			t.Errorf("%s is not what its .proto file says: run go run ./pkg/proto/gen", path)
		}
	}
}

func TestGenerateErrors(t *testing.T) {
	for name, test := range map[string]struct{ source, want string }{
		"no schema":     {"", "no .proto file below"},
		"syntax":        {"syntax = \"proto3\"; message {", "compile schema: x.proto:1:"},
		"no go package": {"syntax = \"proto3\"; package x;", "unable to determine Go import path"},
	} {
		t.Run(name, func(t *testing.T) {
			in := t.TempDir()
			if test.source != "" {
				if err := os.WriteFile(filepath.Join(in, "x.proto"), []byte(test.source), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := generate(t.Context(), in, t.TempDir())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func generatedFiles(t *testing.T, root string) []string {
	t.Helper()
	var paths []string
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".pb.go") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < 20 {
		t.Fatalf("%d generated files below %s, want all of them", len(paths), root)
	}
	slices.Sort(paths)
	return paths
}

func content(t *testing.T, root, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
