package listen_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/daprd/daprd/pkg/listen"
)

func TestEndpoint(t *testing.T) {
	for address, want := range map[string]string{
		"": ":80", "127.0.0.1": "127.0.0.1:80", "::1": "[::1]:80", "[::1]": "[::1]:80", " localhost ": "localhost:80",
	} {
		if got := listen.Endpoint(address, 80); got != want {
			t.Errorf("Endpoint(%q) = %q, want %q", address, got, want)
		}
	}
}

func TestTCP(t *testing.T) {
	log, hook := logtest.NewNullLogger()
	// 192.0.2.1 is nobody's address (RFC 5737).
	bound, err := listen.TCP(t.Context(), []string{"192.0.2.1", "127.0.0.1", "[127.0.0.1]"}, 0, log)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range bound {
		defer l.Close()
	}
	if len(bound) != 2 {
		t.Errorf("%d listeners", len(bound))
	}
	warned := hook.AllEntries()
	if len(warned) != 1 || warned[0].Level != logrus.WarnLevel || !strings.HasPrefix(warned[0].Message, "Failed to listen on 192.0.2.1:0 with error: ") {
		t.Errorf("logged %v", warned)
	}
}

func TestTCPEverywhere(t *testing.T) {
	log, _ := logtest.NewNullLogger()
	bound, err := listen.TCP(t.Context(), nil, 0, log)
	if err != nil {
		t.Fatal(err)
	}
	defer bound[0].Close()
	if !bound[0].Addr().(*net.TCPAddr).IP.IsUnspecified() {
		t.Errorf("bound %s", bound[0].Addr())
	}
}

func TestTCPNowhere(t *testing.T) {
	log, _ := logtest.NewNullLogger()
	bound, err := listen.TCP(t.Context(), []string{"192.0.2.1"}, 0, log)
	if err == nil || !strings.HasPrefix(err.Error(), "could not listen on any endpoint: listen tcp 192.0.2.1:0") || bound != nil {
		t.Errorf("bound %v, %v", bound, err)
	}
}

func TestUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.socket")
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = dead.Close()

	l, err := listen.Unix(t.Context(), path)
	if err != nil {
		t.Fatalf("after a dead process: %v", err)
	}
	defer l.Close()
	if second, err := listen.Unix(t.Context(), path); err == nil {
		_ = second.Close()
		t.Error("a socket that is served was taken over")
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the first listener: %v", err)
	} else {
		_ = c.Close()
	}
}

func TestUnixKeepsFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := listen.Unix(t.Context(), path)
	if err == nil || !strings.Contains(err.Error(), path+": there is a file of that name which is no socket") {
		t.Errorf("error %v", err)
	}
	if kept, err := os.ReadFile(path); string(kept) != "mine" {
		t.Errorf("%q, %v", kept, err)
	}
}
