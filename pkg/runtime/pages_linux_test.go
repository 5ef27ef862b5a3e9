package runtime

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestReadOnly(t *testing.T) {
	const path = "/opt/my daprd"
	for line, want := range map[string]bool{
		"00400000-01403000 r-xp 00000000 fe:00 99                            /opt/my daprd": true,
		"01403000-02000000 r--p 01003000 fe:00 99                            /opt/my daprd": true,
		"02000000-02100000 rw-p 01c00000 fe:00 99                            /opt/my daprd": false,
		"00400000-01403000 r-xp 00000000 fe:00 99                            /lib/x.so":     false,
		"c000000000-c000400000 rw-p 00000000 00:00 0 ":                                      false,
		"7fff-8000 r-xp 00000000 00:00 0                                     [vdso]":        false,
		"x-y r-xp 00000000 fe:00 99                                          /opt/my daprd": false,
		"0-1000 r-xp 00000000 fe:00 99                                       /opt/my daprd": false,
		"": false,
	} {
		if _, _, ok := readOnly(line, path); ok != want {
			t.Errorf("%q: %v", line, ok)
		}
	}
	if from, to, _ := readOnly("00400000-01403000 r-xp 0 fe:00 9 "+path, path); from != 0x400000 || to != 0x1403000 {
		t.Errorf("from %x to %x", from, to)
	}
}

// TestGiveBackStart: the process goes on with less of its binary in memory.
func TestGiveBackStart(t *testing.T) {
	if isTraced() {
		t.Skip("a debugger is there: nothing is given back")
	}
	before := ofFiles(t)
	giveBackStart()
	if after := ofFiles(t); after > before/2 {
		t.Errorf("%d KiB of files were in memory before, %d after", before, after)
	}
}

// ofFiles is how many KiB of this process's memory are pages of files.
func ofFiles(t *testing.T) (kib int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssFile:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}
