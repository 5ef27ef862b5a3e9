package runtime

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// giveBackStart gives the pages of the binary back to the system that are in this process's memory: most of them were
// touched by the start only. What is needed later comes back from the system's cache of the file as it is needed. Only
// what the process cannot write is given back, so nothing can be lost; where that cannot be told, nothing is done. See
// docs/decisions/binary-in-memory.md.
func giveBackStart() {
	binary, err := os.Readlink("/proc/self/exe")
	if err != nil || isTraced() {
		return
	}
	mappings, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(mappings)) {
		from, to, ok := readOnly(strings.TrimSuffix(line, "\n"), binary)
		if ok {
			// An error leaves the pages where they are.
			_, _, _ = syscall.RawSyscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED)
		}
	}
}

// isTraced says that a debugger is there, which writes its breakpoints into pages that this process cannot write.
func isTraced() bool {
	status, err := os.ReadFile("/proc/self/status")
	return err != nil || !bytes.Contains(status, []byte("TracerPid:\t0\n"))
}

// readOnly reads a line of /proc/self/maps, "00400000-01403000 r-xp 00000000 fe:00 9986353    /path", and says whether it
// is a part of the binary that cannot be written.
func readOnly(line, binary string) (from, to uintptr, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 6 || !strings.HasSuffix(line, " "+binary) || len(fields[1]) != 4 || fields[1][1] != '-' {
		return 0, 0, false
	}
	low, high, _ := strings.Cut(fields[0], "-")
	begin, err1 := strconv.ParseUint(low, 16, 64)
	end, err2 := strconv.ParseUint(high, 16, 64)
	return uintptr(begin), uintptr(end), err1 == nil && err2 == nil && begin > 0 && begin < end
}
