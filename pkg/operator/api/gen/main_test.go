package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCurrent: the chart's definitions are those of the types.
func TestCurrent(t *testing.T) {
	const root = "../../../.."
	fresh := t.TempDir()
	if err := generate(root, fresh); err != nil {
		t.Fatal(err)
	}
	want, got := read(t, fresh), read(t, filepath.Join(root, "charts/daprd/crds"))
	if len(want) != 5 {
		t.Errorf("there are %d kinds, want 5", len(want))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("charts/daprd/crds is not current; run: go run ./pkg/operator/api/gen\n-want +got:\n" + diff)
	}
}

func read(t *testing.T, folder string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(file)] = string(text)
	}
	return texts
}
