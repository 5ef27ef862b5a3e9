package components

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestAway tells servers that cannot be reached from what another try would not change.
func TestAway(t *testing.T) {
	dir := t.TempDir()
	_, missing := os.Open(filepath.Join(dir, "missing.json"))
	_, socket := net.Dial("unix", filepath.Join(dir, "missing.sock"))
	_, name := net.LookupHost("missing.invalid")
	for what, c := range map[string]struct {
		err  error
		away bool
	}{
		"a missing file":        {missing, false},
		"a missing socket":      {socket, true},
		"an unknown host":       {name, true},
		"a cut connection":      {io.ErrUnexpectedEOF, true},
		"a server that is slow": {context.DeadlineExceeded, true},
		"a process that is not": {status.Error(codes.Unavailable, "no connection"), true},
		"an answer":             {status.Error(codes.PermissionDenied, "wrong password"), false},
	} {
		if c.err == nil {
			t.Fatalf("%s gave no error", what)
		}
		if got := away(fmt.Errorf("open the component: %w", c.err)); got != c.away {
			t.Errorf("%s (%v): away is %v, want %v", what, c.err, got, c.away)
		}
	}
}
