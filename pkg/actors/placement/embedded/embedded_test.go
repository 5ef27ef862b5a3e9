package embedded

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	logtest "github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"

	client "github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/actors/placement/placementtest"
)

// folderOfSidecar makes the test binary a sidecar that hosts T with the folder, until it is killed.
const folderOfSidecar = "EMBEDDED_TEST_FOLDER"

func TestMain(m *testing.M) {
	if folder := os.Getenv(folderOfSidecar); folder != "" {
		beSidecar(folder)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// quiet is a Hosting without actors.
type quiet struct{}

func (quiet) Drain(context.Context, []string, func(string, string) bool) {}
func (quiet) Halt(context.Context)                                       {}
func (quiet) Settled([]string)                                           {}

func beSidecar(folder string) {
	log, _ := logtest.NewNullLogger()
	c := client.NewClient(client.Deps{AppID: "child", Namespace: "default", Address: func() string { return "127.0.0.1:1" }, Servers: New(folder, log),
		Hosting: quiet{}, Log: log, Pause: Pause})
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { c.Run(ctx) })
	if err := c.Announce(ctx, []string{"T"}); err != nil {
		fmt.Println(err)
	}
	fmt.Println("hosts")
	_, _ = io.Copy(io.Discard, os.Stdin)
	stop()
	work.Wait()
}

// start runs a sidecar of this process.
func start(t *testing.T, l *placementtest.Ledger, folder, address string) *placementtest.Sidecar {
	t.Helper()
	log, _ := logtest.NewNullLogger()
	servers := New(folder, log)
	s := placementtest.Start(t, l, address, "unused:1", func(d *client.Deps) { d.Servers, d.Pause = servers, Pause })
	stop := s.Stop
	s.Stop = sync.OnceFunc(func() {
		stop()
		if err := servers.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(s.Stop)
	return s
}

// TestTakeOver: the first sidecar is the placement of all; when it is killed, another is.
func TestTakeOver(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "daprd")
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), folderOfSidecar+"="+folder)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "hosts\n" {
		t.Fatal(line, err)
	}
	l := placementtest.NewLedger()
	a, b := start(t, l, folder, "127.0.0.1:2"), start(t, l, folder, "127.0.0.1:3")
	a.Host(t, "T")
	b.Host(t, "T")
	if ring, _ := a.Ring("T"); len(ring.Hosts()) != 3 {
		t.Errorf("hosts: %v", ring.Hosts())
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	for _, s := range []*placementtest.Sidecar{a, b} {
		for {
			if ring, _ := s.Ring("T"); len(ring.Hosts()) == 2 {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	for i := range 20 {
		one, err := a.Call(t.Context(), "T", fmt.Sprint(i))
		other, failed := b.Call(t.Context(), "T", fmt.Sprint(i))
		if err != nil || failed != nil || one.Address != other.Address {
			t.Errorf("actor %d: %+v %v, %+v %v", i, one, err, other, failed)
		}
	}
	a.Stop()
	for {
		if ring, _ := b.Ring("T"); len(ring.Hosts()) == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if broken := l.Broken(); len(broken) > 0 {
		t.Error(broken)
	}
}

// TestAtOnce: the first on a machine need not wait for anybody.
func TestAtOnce(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "daprd")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	then := time.Now().Add(-time.Hour)
	for range 2 { // the second follows one that had nobody but itself
		if err := os.WriteFile(filepath.Join(folder, lockFile), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(folder, lockFile), then, then); err != nil {
			t.Fatal(err)
		}
		a := start(t, placementtest.NewLedger(), folder, "127.0.0.1:2")
		a.Host(t, "T")
		info, err := os.Stat(filepath.Join(folder, lockFile))
		if err != nil || !info.ModTime().Equal(then) {
			t.Errorf("touched at %v, %v", info.ModTime(), err)
		}
		a.Stop()
	}
}

// TestNoFolder: a folder that cannot be used is said.
func TestNoFolder(t *testing.T) {
	log, _ := logtest.NewNullLogger()
	if _, last, err := New(filepath.Join(t.TempDir(), "no", "such"), log).Next(t.Context()); err == nil || !last {
		t.Error(last, err)
	}
}
