package security

import (
	"crypto/x509"
	"net/url"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// FuzzSPIFFE: every reader of SPIFFE ids takes the same certificates for the same, and those that the standard's library
// takes; nobody is a caller whose id does not read back as itself.
func FuzzSPIFFE(f *testing.F) {
	for _, seed := range []string{"spiffe://td/ns/ns/shop", "spiffe://td", "spiffe://td/", "spiffe://td/ns/ns/shop/more", "spiffe://td/ns/../shop", "SPIFFE://td/ns/a/b",
		"spiffe://u@td/ns/a/b", "spiffe://td:1/ns/a/b", "spiffe://td/ns/a/b?", "spiffe://td/ns/a/b#", "spiffe://td/ns/%61/b", "spiffe:td/ns/a/b", "spiffe:///ns/a/b",
		"https://td/ns/a/b", "spiffe://TD/ns/a/b", "spiffe://td//ns/a/b", "spiffe://td/ns/a/b%2fc", "spiffe://spiffe:%2f%2ftd/ns/a/b", "spiffe://td/ns/ä/b", "spiffe://[::1]/ns/a/b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := url.Parse(text)
		if err != nil {
			return
		}
		leaf := &x509.Certificate{URIs: []*url.URL{u}}
		want, wantErr := spiffeid.FromURI(u)
		var got spiffeid.ID
		domain, path, err := named(leaf)
		if err == nil {
			got, err = spiffeid.FromPath(domain, path)
		}
		if (err == nil) != (wantErr == nil) || got != want {
			t.Fatalf("%q is read as %v, %v; the library says %v, %v", text, got, err, want, wantErr)
		}
		caller, err := callerOf(leaf)
		if err != nil {
			if caller != (Caller{}) {
				t.Fatalf("%q gives the caller %+v with an error", text, caller)
			}
			return
		}
		if caller.String() != want.String() {
			t.Fatalf("the caller of %q is %s", text, caller)
		}
		if caller.Namespace == "" || caller.AppID == "" || strings.Contains(caller.Namespace+caller.AppID, "/") {
			t.Fatalf("the caller of %q is %+v", text, caller)
		}
		is := Peer(caller)
		if err := is.check(leaf); err != nil {
			t.Fatalf("%q is not the peer that it is as a caller: %v", text, err)
		}
		if (Peer{Namespace: caller.Namespace, AppID: caller.AppID + "x"}).check(leaf) == nil {
			t.Fatalf("%q is a peer of another app id", text)
		}
	})
}

// TestCallersCostNothing: the id is read for every call.
func TestCallersCostNothing(t *testing.T) {
	ctx := called(t, []string{"spiffe://td/ns/ns/shop"})
	if n := testing.AllocsPerRun(100, func() {
		if _, err := CallerOf(ctx); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
