package process_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/process"
)

// signalled is the variable that makes this test binary the process of TestSignalAfterTheEnd.
const signalled = "PROCESS_TEST_SIGNALLED"

func TestMain(m *testing.M) {
	if os.Getenv(signalled) != "" {
		os.Exit(endThenSignal())
	}
	goleak.VerifyTestMain(m)
}

// endThenSignal is a process whose work is over, and that is told to end before it has.
func endThenSignal() int {
	code := process.NewCommandLine(process.About{Name: "test"}, new(process.Observed)).Run(io.Discard, os.Stderr,
		func(*logging.Logs) (func(context.Context) error, error) {
			return func(context.Context) error { return nil }, nil
		})
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		return 3
	}
	return code
}

// TestSignalAfterTheEnd: a signal that comes between the end of the work and that of the process does not take the place
// of the exit code.
func TestSignalAfterTheEnd(t *testing.T) {
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		var stderr bytes.Buffer
		command := exec.CommandContext(t.Context(), own)
		command.Env, command.Stderr = append(os.Environ(), signalled+"=1", "GORACE=atexit_sleep_ms=0"), &stderr
		if err := command.Run(); err != nil {
			t.Fatalf("%v, want exit code 0: %s", err, stderr.String())
		}
	}
}
