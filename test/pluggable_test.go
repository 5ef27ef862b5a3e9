package test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/components/catalogue"
	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/components/memory"
	"github.com/daprd/daprd/pkg/components/pluggable/pluggabletest"
	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
	states "github.com/daprd/daprd/pkg/state"
	"github.com/daprd/daprd/pkg/state/statetest"
)

// componentSocket in the environment makes a component process of the test binary.
const componentSocket = "DAPRD_TEST_COMPONENT_SOCKET"

// serveComponent is the component process: a state store in its memory and an output binding that echoes.
func serveComponent(socket string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	store, err := memory.NewState(ctx, componentstest.Spec("state.in-memory", nil))
	if err == nil {
		var p *pluggabletest.Process
		if p, err = pluggabletest.Serve(socket, pluggabletest.Parts{State: store, Output: echoBinding{}}); err == nil {
			defer p.Stop()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("serving")
	<-ctx.Done()
	return 0
}

// echoBinding is an output binding.
type echoBinding struct{}

func (echoBinding) Operations() []string { return []string{"create"} }
func (echoBinding) Invoke(_ context.Context, req *bindings.Request) (*bindings.Response, error) {
	return &bindings.Response{Data: req.Data}, nil
}

// startComponent starts a component process and waits until it serves.
func startComponent(t *testing.T, socket string) *exec.Cmd {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), componentSocket+"="+socket)
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "serving\n" {
		t.Fatalf("the component process says %q, %v", line, err)
	}
	return command
}

func socketsFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "sockets") // short: a socket's path has 108 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

const pluggableManifest = `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: vault}
spec: {type: state.vault, version: v1}
`

// TestPluggable: a component process is used like any component, over both transports; when it is killed calls fail,
// and when it is back they work.
func TestPluggable(t *testing.T) {
	runtimetest.Isolate(t)
	folder := socketsFolder(t)
	socket := filepath.Join(folder, "vault.sock")
	process := startComponent(t, socket)
	s := runtimetest.Start(t, "pluggable", runtimetest.Manifests(t, pluggableManifest), func(c *runtime.Config) { c.SocketsFolder = folder })
	apis := transports(t, s)
	for _, api := range apis {
		answer := api.metadata(t.Context())
		if answer.Info == nil {
			t.Fatal(answer.Fault)
		}
		if diff := cmp.Diff([]string{"vault state.vault/v1 ACTOR,ETAG,TRANSACTIONAL,TTL"}, answer.Info.Components); diff != "" {
			t.Errorf("%s: %s", api.name(), diff)
		}
	}
	cases := []parityCase{
		{name: "saved", do: func(a *asker) meaning { a.put("k", `"v"`); return a.get("k") }, want: meaning{Value: `"v"`, ETag: true}},
		{name: "absent", do: func(a *asker) meaning { return a.get("absent") }, want: meaning{}},
		{name: "another's tag", do: func(a *asker) meaning {
			a.put("k", "1")
			tag := "other"
			return a.save(stateItem{Key: "k", Value: "2", ETag: &tag})
		}, want: meaning{Fault: &fault{HTTP: 409, Code: "ERR_STATE_SAVE", GRPC: 10, Reason: "ERR_STATE_SAVE",
			Text: "failed saving state in state store vault: possible etag mismatch. error from state store: …"}}},
		{name: "transaction", do: func(a *asker) meaning {
			a.must(a.transact(stateOperation{"upsert", stateItem{Key: "a", Value: "1"}}, stateOperation{"upsert", stateItem{Key: "b", Value: "2"}}))
			return a.bulk("a", "absent", "b")
		}, want: meaning{Items: []parityItem{{Key: "a", Value: "1", ETag: true}, {Key: "absent"}, {Key: "b", Value: "2", ETag: true}}}},
		{name: "query", do: func(a *asker) meaning { return a.api.query(a.ctx, "vault", `{"filter":{"EQ":{"a":1}}}`) },
			want: meaning{Fault: &fault{HTTP: 500, Code: "ERR_STATE_QUERY", GRPC: 13, Reason: "DAPR_STATE_QUERY_FAILED", Rich: true,
				Text: "state store vault query failed: the component process does not implement queries"}}},
	}
	t.Run("up", func(t *testing.T) { askAll(t, cases, apis, "vault", false) })
	t.Run("killed and back", func(t *testing.T) {
		if err := process.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = process.Wait()
		settle(t, func() bool {
			value, _ := apis[0].getState(t.Context(), "vault", "k", nil)
			return value.Fault != nil && value.Fault.HTTP == 500
		}, "an error of a call to a dead component process")
		if err := os.Remove(socket); err != nil {
			t.Fatal(err)
		}
		startComponent(t, socket)
		settle(t, func() bool {
			return apis[1].saveState(t.Context(), "vault", stateItem{Key: "k", Value: "again"}).Fault == nil
		}, "the recovery of a component process")
	})
}

// TestPluggableConformance: what a process keeps in memory is a state store like any other.
func TestPluggableConformance(t *testing.T) {
	folder := socketsFolder(t)
	startComponent(t, filepath.Join(folder, "vault.sock"))
	set := catalogue.All()
	set.Discover(t.Context(), folder, logrus.New())
	factory, err := set.State.Factory("state.vault", "")
	if err != nil {
		t.Fatal(err)
	}
	statetest.Run(t, func(t *testing.T) states.Store {
		store, err := factory(t.Context(), componentstest.Spec("state.vault", nil))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.(interface{ Close() error }).Close() })
		return store
	}, statetest.Options{})
}
