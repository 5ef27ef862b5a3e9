package test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/daprd/daprd/pkg/actors/placement/placementtest"
)

// actorHost starts an application whose actors of type T tell its name, with its sidecar.
func actorHost(t *testing.T, m *mesh, name string, flags ...string) *process {
	t.Helper()
	app := newActorApp(t, `{"entities":["T"]}`)
	app.method = func(w http.ResponseWriter, _ *http.Request, _, _ string, _ []byte) { _, _ = io.WriteString(w, name) }
	app.live(t)
	resources := t.TempDir()
	if err := os.WriteFile(filepath.Join(resources, "store.yaml"), []byte(memoryActors), 0o600); err != nil {
		t.Fatal(err)
	}
	return m.start(t, m.id(name), append([]string{"--app-port", strconv.Itoa(app.port), "--resources-path", resources}, flags...)...)
}

// TestActorMesh: sidecars that share placement, that of this machine or a service, find each other's actors; when one of
// them is killed its actors are at the other, also when it was the placement of all.
func TestActorMesh(t *testing.T) {
	service := placementtest.Serve(t, "127.0.0.1:0", placementtest.Trusted)
	for name, flags := range map[string][]string{
		"this machine": nil,
		"a service":    {"--placement-host-address", service.Address},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t)
			first := actorHost(t, m, "first", flags...)
			// It hosts, and is the placement of all where there is no service.
			eventually(t, "the first one hosts", func() bool { return asked(t, first, 0) == "first" })
			second := actorHost(t, m, "second", flags...)
			caller := m.start(t, m.id("caller"), flags...)
			const actors = 40
			eventually(t, "both are asked", func() bool {
				by := map[string]int{}
				for i := range actors {
					by[asked(t, caller, i)]++
				}
				return by["first"] > 0 && by["second"] > 0 && by["first"]+by["second"] == actors
			})
			for i := range actors {
				if one, other := asked(t, first, i), asked(t, second, i); one != other || one != asked(t, caller, i) {
					t.Errorf("actor %d is at %q and at %q", i, one, other)
				}
			}
			first.signal(t, syscall.SIGKILL)
			first.exit(t)
			eventually(t, "the second one has all", func() bool {
				for i := range actors {
					if asked(t, caller, i) != "second" {
						return false
					}
				}
				return true
			})
		})
	}
}

// asked is the name that an actor tells, "" where the call fails.
func asked(t *testing.T, p *process, id int) string {
	t.Helper()
	res, err := http.Post(p.url(t, fmt.Sprintf("/v1.0/actors/T/%d/method/who", id)), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return ""
	}
	return string(text)
}
