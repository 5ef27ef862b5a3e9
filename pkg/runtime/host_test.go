package runtime

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"os"
	"testing"
)

func TestDetectHost(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, ctx := range map[string]context.Context{"found out": t.Context(), "no way out": ended} {
		address, err := netip.ParseAddr(DetectHost(ctx))
		if err != nil || address.IsUnspecified() || address.IsMulticast() || address.Zone() != "" {
			t.Errorf("%s: %s, %v is nothing to dial", name, address, err)
		}
	}
}

func TestStablePort(t *testing.T) {
	t.Chdir(t.TempDir())
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	different := map[int]bool{}
	for i := range 1000 {
		id := fmt.Sprint("app-", i)
		hash := sha256.Sum256([]byte(id + "|" + folder + "|" + fmt.Sprint(os.Getuid()) + "|" + host))
		want := 47300 + (int(hash[0])|int(hash[1])<<8)%18235
		got := stablePort(id)
		if got != want || got != stablePort(id) || got < 47300 || got >= 65535 {
			t.Fatalf("%s: %d, want %d", id, got, want)
		}
		different[got] = true
	}
	if len(different) < 900 {
		t.Errorf("1000 apps share %d ports", len(different))
	}
	here := stablePort("app")
	t.Chdir(t.TempDir())
	if stablePort("app") == here {
		t.Error("an app of the same id in another folder has the same port")
	}
}
