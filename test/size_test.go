package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// mostBytes is the budget of the sidecar's file (docs/decisions/binary-in-memory.md).
const mostBytes = 50_000_000

// TestBinarySize builds the sidecar as it is shipped. What is over is most often a dependency that keeps the linker from
// dropping what nobody calls.
func TestBinarySize(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the sidecar")
	}
	folder := t.TempDir()
	build := exec.Command("make", "BIN="+folder, filepath.Join(folder, "daprd"))
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(filepath.Join(folder, "daprd"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > mostBytes {
		t.Errorf("the binary has %d bytes, %d at most: see docs/decisions/binary-in-memory.md", info.Size(), mostBytes)
	}
}
