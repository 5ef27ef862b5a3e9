package test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
)

// nowhere is an address that no machine has: it stands for that of the seed's trace which the seed's machine did not have.
const nowhere = "192.0.2.1"

// watcherLine is one that the original writes from another goroutine than its neighbours, too.
const watcherLine = "starting workload cert expiry watcher. current cert expires on: "

// TestKubernetesTrace starts a sidecar as the seed's was started, in Kubernetes mode with mutual TLS, and holds its lines
// against the seed's.
func TestKubernetesTrace(t *testing.T) {
	for name, form := range map[string][]string{"text": nil, "json": {"--log-as-json"}} {
		t.Run(name, func(t *testing.T) { kubernetesTrace(t, form) })
	}
}

func kubernetesTrace(t *testing.T, form []string) {
	server := redistest.Start(t)
	c := startCluster(t)
	c.operator.put("Component", "statestore", `"spec":{"type":"state.redis","version":"v1","metadata":[`+
		`{"name":"redisHost","value":"`+server.Address+`"},{"name":"redisPassword","value":""}]}`)
	app := newApplication(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	flags, ports := tracePorts(t, app)
	flags = append(append(flags, form...), c.flags(t, "nodeapp")...)
	p := newMesh(t).launch(t, "nodeapp", append(flags, "--enable-mtls", "--dapr-listen-addresses", nowhere+",127.0.0.1")...)
	p.awaits(t, "This will block until the app is listening on that port.")
	app.live(t)
	p.ready(t)
	p.stops(t)
	lines, _, _ := p.log.snapshot()
	checkForm(t, lines)
	got := withoutWatcher(t, normalised(entries(t, lines, strings.NewReplacer(append(ports, nowhere, "[::1]")...))))
	want := withoutWatcher(t, normalised(seed(t)))
	if diff := cmp.Diff(texts(want), texts(matching(got, want))); diff != "" {
		t.Errorf("the trace differs (-want +got):\n%s\nall lines:\n%s", diff, strings.Join(texts(got), "\n"))
	}
	callers, _ := c.operator.asked()
	if diff := cmp.Diff([]string{"spiffe://public/ns/default/nodeapp"}, callers); diff != "" {
		t.Errorf("who asked the operator: %s", diff)
	}
}

// withoutWatcher takes the watcher's line out, which has to be there once.
func withoutWatcher(t *testing.T, list []entry) []entry {
	t.Helper()
	left := slices.DeleteFunc(slices.Clone(list), func(e entry) bool {
		return e.level == "info" && e.scope == "dapr.runtime.grpc.internal" && strings.HasPrefix(e.msg, watcherLine)
	})
	if len(left) != len(list)-1 {
		t.Errorf("%d lines begin with %q", len(list)-len(left), watcherLine)
	}
	return left
}
