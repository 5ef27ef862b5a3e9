package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

// client is an HTTP client with connections of its own.
func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// answer is what came back of a call.
type answer struct {
	status int
	body   string
}

func call(t *testing.T, method, url, body string) answer {
	t.Helper()
	a, err := try(t.Context(), http.DefaultClient, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// try makes a call; an answer that is not whole is an error of type cutOff.
func try(ctx context.Context, c *http.Client, method, url string, body io.Reader) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return answer{}, err
	}
	response, err := c.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, &cutOff{err}
	}
	return answer{response.StatusCode, string(text)}, nil
}

type cutOff struct{ error }

func wants(t *testing.T, got answer, status int, texts ...string) {
	t.Helper()
	if got.status != status {
		t.Errorf("status %d, want %d: %s", got.status, status, got.body)
	}
	for _, text := range texts {
		if !strings.Contains(got.body, text) {
			t.Errorf("the answer %q does not contain %q", got.body, text)
		}
	}
}

func echo(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }

func greet(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }
}

// eventually polls, where nothing tells that something has happened.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if happened() {
			return
		}
	}
	t.Fatalf("it did not happen: %s", what)
}

func (p *process) healthy(t *testing.T) {
	t.Helper()
	eventually(t, "healthz answers 204", func() bool { return call(t, "GET", p.url(t, "/v1.0/healthz"), "").status == 204 })
}

// TestApplicationBeforeSidecar: the usual order.
func TestApplicationBeforeSidecar(t *testing.T) {
	t.Parallel()
	app := startApplication(t, echo)
	m := newMesh(t)
	p := m.start(t, m.id("app"), app.flag())
	p.healthy(t)
	wants(t, call(t, "POST", p.invoke(t, p.id, "m"), "hello"), 200, "hello")
}

// TestSidecarBeforeApplication: what does not need the application works before it is there; what does says so.
func TestSidecarBeforeApplication(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	other := m.start(t, m.id("other"), startApplication(t, greet("other")).flag())
	app := newApplication(t, echo)
	p := m.launch(t, m.id("app"), app.flag(), manifests(t, map[string]string{"store.yaml": memoryStore}))
	p.awaits(t, "This will block until the app is listening on that port.")

	wants(t, call(t, "GET", p.url(t, "/v1.0/healthz"), ""), 500, "ERR_HEALTH_NOT_READY")
	wants(t, call(t, "GET", p.url(t, "/v1.0/healthz/outbound"), ""), 204)
	wants(t, call(t, "POST", p.url(t, "/v1.0/state/store"), `[{"key":"k","value":"early"}]`), 204)
	wants(t, call(t, "GET", p.url(t, "/v1.0/state/store/k"), ""), 200, `"early"`)
	wants(t, call(t, "POST", p.invoke(t, other.id, "m"), ""), 200, "other")
	wants(t, call(t, "POST", p.invoke(t, p.id, "m"), ""), 500, "ERR_DIRECT_INVOKE", "app channel not initialized")
	wants(t, call(t, "POST", other.invoke(t, p.id, "m"), ""), 500, "ERR_DIRECT_INVOKE", "app channel is not initialized")
	state, err := p.dapr(t).GetState(t.Context(), &runtimev1.GetStateRequest{StoreName: "store", Key: "k"})
	if err != nil || string(state.GetData()) != `"early"` {
		t.Errorf("GetState: %v, %v", state, err)
	}

	app.live(t)
	p.ready(t)
	p.healthy(t)
	wants(t, call(t, "POST", p.invoke(t, p.id, "m"), "now"), 200, "now")
	wants(t, call(t, "POST", other.invoke(t, p.id, "m"), "now"), 200, "now")
}

// TestEndWhileWaitingForApplication: a sidecar whose application never comes ends when it is asked to.
func TestEndWhileWaitingForApplication(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	p := m.launch(t, m.id("app"), newApplication(t, nil).flag())
	p.awaits(t, "This will block until the app is listening on that port.")
	p.stops(t)
}

// TestEndWhileLoadingComponents: a component whose server does not answer does not hold up the end.
func TestEndWhileLoadingComponents(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	manifest := strings.Replace(store("st", "state.redis", "redisHost", silent.Addr().String()), "spec:\n", "spec:\n  initTimeout: 10m\n", 1)
	m := newMesh(t)
	p := m.launch(t, m.id("app"), manifests(t, map[string]string{"st.yaml": manifest}))
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p.stops(t)
}

// TestApplicationDiesAndComesBack: calls fail with a clear error meanwhile, and work again without a restart.
func TestApplicationDiesAndComesBack(t *testing.T) {
	t.Parallel()
	app := startApplication(t, echo)
	m := newMesh(t)
	p := m.start(t, m.id("app"), app.flag())
	caller := m.start(t, m.id("caller"))
	urls := []string{p.invoke(t, p.id, "m"), caller.invoke(t, p.id, "m")}
	for range 2 {
		for _, url := range urls {
			wants(t, call(t, "POST", url, "hello"), 200, "hello")
		}
		app.die()
		for _, url := range urls {
			wants(t, call(t, "POST", url, "hello"), 500, "ERR_DIRECT_INVOKE", p.id, loopback(app.port))
			// The first calls may still meet connections whose end has not been seen.
			eventually(t, "the error says what is wrong", func() bool {
				return strings.Contains(call(t, "POST", url, "hello").body, loopback(app.port)+": connect: connection refused")
			})
		}
		app.live(t)
	}
	for _, url := range urls {
		wants(t, call(t, "POST", url, "hello"), 200, "hello")
	}
}

// TestApplicationDiesInTheMiddle: the caller learns that the answer is not whole.
func TestApplicationDiesInTheMiddle(t *testing.T) {
	t.Parallel()
	app := startApplication(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/before" {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	m := newMesh(t)
	p := m.start(t, m.id("app"), app.flag())
	caller := m.start(t, m.id("caller"))
	for _, s := range []*process{p, caller} {
		wants(t, call(t, "POST", s.invoke(t, p.id, "before"), ""), 500, "ERR_DIRECT_INVOKE", p.id)
		_, err := try(t.Context(), http.DefaultClient, "POST", s.invoke(t, p.id, "middle"), nil)
		if cut := new(cutOff); !errors.As(err, &cut) {
			t.Errorf("through %s: %v, want an answer that is cut off", s.id, err)
		}
	}
}

// TestCalleeComesLater: a call to an application that nobody knows fails and says so; once its sidecar is
// there, calls reach it without a restart of the caller.
func TestCalleeComesLater(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	caller := m.start(t, m.id("caller"))
	url := caller.invoke(t, m.id("callee"), "m")
	wants(t, call(t, "POST", url, ""), 500, "ERR_DIRECT_INVOKE", "couldn't find service: "+m.id("callee"))
	app := startApplication(t, greet("here"))
	callee := m.start(t, m.id("callee"), app.flag())
	wants(t, call(t, "POST", url, ""), 200, "here")

	callee.stops(t)
	gone := call(t, "POST", url, "")
	wants(t, gone, 500, "ERR_DIRECT_INVOKE", m.id("callee"))
	m.start(t, m.id("callee"), app.flag())
	wants(t, call(t, "POST", url, ""), 200, "here")
}

// TestClientGoesAway: the application's request is cancelled, at its own sidecar and through two.
func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	entered, cancelled := make(chan struct{}, 16), make(chan struct{}, 16)
	app := startApplication(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			return
		}
		entered <- struct{}{}
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			<-r.Context().Done()
		}
		cancelled <- struct{}{}
	})
	m := newMesh(t)
	callee := m.start(t, m.id("callee"), app.flag())
	caller := m.start(t, m.id("caller"))
	for name, p := range map[string]*process{"one sidecar": callee, "two sidecars": caller} {
		for form, call := range map[string]func(context.Context) error{
			"HTTP": func(ctx context.Context) error {
				_, err := try(ctx, http.DefaultClient, "POST", p.invoke(t, callee.id, "m"), strings.NewReader("x"))
				return err
			},
			"HTTP upload": func(ctx context.Context) error {
				r, w := io.Pipe()
				// Go's client waits for the read of the body that is under way.
				defer context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })()
				go io.WriteString(w, "the beginning")
				_, err := try(ctx, http.DefaultClient, "POST", p.invoke(t, callee.id, "m"), r)
				return err
			},
			"gRPC": func(ctx context.Context) error {
				_, err := p.dapr(t).InvokeService(ctx, invokeRequest(callee.id, "m", "x"))
				return err
			},
		} {
			t.Run(name+", "+form, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- call(ctx) }()
				<-entered
				cancel()
				if err := <-done; err == nil {
					t.Error("the call was not cancelled")
				}
				select {
				case <-cancelled:
				case <-time.After(patience):
					t.Error("the application's request was not cancelled")
				}
			})
		}
	}
}

func invokeRequest(id, method, body string) *runtimev1.InvokeServiceRequest {
	return &runtimev1.InvokeServiceRequest{Id: id, Message: &commonv1.InvokeRequest{Method: method, Data: &anypb.Any{Value: []byte(body)},
		HttpExtension: &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_POST}}}
}

// TestHangup: SIGHUP starts the sidecar anew in the same process, with the files as they are now.
func TestHangup(t *testing.T) {
	t.Parallel()
	g := newGate()
	app := startApplication(t, g.serve)
	m := newMesh(t)
	dir := t.TempDir()
	p := m.start(t, m.id("app"), app.flag(), "--resources-path", dir, "--dapr-http-port", strconv.Itoa(holdPort(t)), "--dapr-grpc-port", strconv.Itoa(holdPort(t)))
	wants(t, call(t, "GET", p.url(t, "/v1.0/state/store/k"), ""), 500, "ERR_STATE_STORE_NOT_CONFIGURED")
	slow := g.call(t, p.invoke(t, p.id, "slow"))
	write(t, filepath.Join(dir, "store.yaml"), memoryStore)
	p.signal(t, syscall.SIGHUP)
	p.awaits(t, "Waiting 5s to finish outstanding operations")
	g.open()
	wants(t, slow(t), 200, "done")
	p.awaitsMore(t, "dapr initialized. Status: Running.", 2)
	wants(t, call(t, "GET", p.url(t, "/v1.0/state/store/k"), ""), 204)
	wants(t, call(t, "POST", p.invoke(t, p.id, "fast"), "x"), 200, "x")
	p.stops(t)
}

// TestHangupWithFault: a fault in the new start is fatal.
func TestHangupWithFault(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	dir := filepath.Join(t.TempDir(), "resources")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p := m.start(t, m.id("app"), "--resources-path", dir)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGHUP)
	p.exits(t, 1)
	if !said(t, p, "fatal", []string{dir, "--resources-path"}) {
		t.Error("the fault is not told")
	}
}

// TestSignalsDuringRestart: SIGTERM ends a sidecar that is restarting, in order; a further SIGHUP changes
// nothing about the restart that is under way.
func TestSignalsDuringRestart(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	for name, tc := range map[string]struct {
		second   os.Signal
		restarts int
	}{"SIGTERM": {syscall.SIGTERM, 0}, "SIGHUP": {syscall.SIGHUP, 1}} {
		t.Run(name, func(t *testing.T) {
			g := newGate()
			p := m.start(t, m.id("app"), startApplication(t, g.serve).flag())
			slow := g.call(t, p.invoke(t, p.id, "slow"))
			p.signal(t, syscall.SIGHUP)
			p.awaits(t, "Waiting 5s to finish outstanding operations")
			p.signal(t, tc.second)
			p.awaitsMore(t, "Received signal", 2)
			g.open()
			wants(t, slow(t), 200, "done")
			if tc.restarts > 0 {
				p.awaitsMore(t, "dapr initialized. Status: Running.", 1+tc.restarts)
				p.stops(t)
			} else {
				p.exits(t, 0)
			}
		})
	}
}

// TestShutdownAPI: both transports end the sidecar, after what is in flight, unless they force it.
func TestShutdownAPI(t *testing.T) {
	t.Parallel()
	overHTTP := func(t *testing.T, p *process, forced bool) {
		request, err := http.NewRequestWithContext(t.Context(), "POST", p.url(t, "/v1.0/shutdown"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if forced {
			request.Header.Set("dapr-force-shutdown", "true")
		}
		response, err := client(t).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusNoContent {
			t.Errorf("status %d", response.StatusCode)
		}
	}
	overGRPC := func(t *testing.T, p *process, forced bool) {
		ctx := t.Context()
		if forced {
			ctx = metadata.AppendToOutgoingContext(ctx, "dapr-force-shutdown", "true")
		}
		if _, err := p.dapr(t).Shutdown(ctx, &runtimev1.ShutdownRequest{}); err != nil {
			t.Error(err)
		}
	}
	for name, ask := range map[string]func(*testing.T, *process, bool){"HTTP": overHTTP, "gRPC": overGRPC} {
		for _, forced := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, forced %t", name, forced), func(t *testing.T) {
				t.Parallel()
				g := newGate()
				m := newMesh(t)
				p := m.start(t, m.id("app"), startApplication(t, g.serve).flag(), "--dapr-graceful-shutdown-seconds", "30")
				slow := g.call(t, p.invoke(t, p.id, "slow"))
				ask(t, p, forced)
				if forced {
					p.exits(t, 1)
					g.open()
					return
				}
				p.awaits(t, "Waiting 30s to finish outstanding operations")
				g.open()
				wants(t, slow(t), 200, "done")
				p.exits(t, 0)
			})
		}
	}
}

// TestBlockShutdown: for a while after the signal everything goes on.
func TestBlockShutdown(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	files := manifests(t, map[string]string{"store.yaml": memoryStore})
	p := m.start(t, m.id("app"), "--dapr-block-shutdown-duration", "1500ms", files)
	p.signal(t, syscall.SIGTERM)
	p.awaits(t, "Blocking graceful shutdown for 1.5s")
	wants(t, call(t, "POST", p.url(t, "/v1.0/state/store"), `[{"key":"k","value":"late"}]`), 204)
	wants(t, call(t, "GET", p.url(t, "/v1.0/healthz"), ""), 500, "ERR_HEALTH_NOT_READY")
	wants(t, call(t, "GET", p.url(t, "/v1.0/healthz/outbound"), ""), 204)
	p.exits(t, 0)
	p.awaits(t, "Block shutdown period expired, entering shutdown...")

	impatient := m.start(t, m.id("impatient"), "--dapr-block-shutdown-duration", "10m")
	impatient.signal(t, syscall.SIGTERM)
	impatient.awaits(t, "Blocking graceful shutdown for 10m0s")
	impatient.signal(t, syscall.SIGTERM)
	impatient.exits(t, 1)
}

// TestSecondSignal ends the sidecar at once.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	for _, second := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run(second.String(), func(t *testing.T) {
			g := newGate()
			m := newMesh(t)
			p := m.start(t, m.id("app"), startApplication(t, g.serve).flag(), "--dapr-graceful-shutdown-seconds", "0")
			slow := g.call(t, p.invoke(t, p.id, "slow"))
			p.signal(t, syscall.SIGTERM)
			p.awaits(t, "Waiting 0s to finish outstanding operations")
			p.signal(t, second)
			p.exits(t, 1)
			if !said(t, p, "fatal", []string{"Received signal '" + second.String() + "' during shutdown; exiting immediately"}) {
				t.Error("the reason is not told")
			}
			g.open()
			_ = slow
		})
	}
}

// slowCalls are calls that a sidecar can have in hand when it is told to end. Each returns when the call has
// reached the application; what it returns checks that the answer was whole.
func slowCalls() map[string]func(t *testing.T, g *gate, p, callee *process) func(*testing.T) {
	over := func(c func(*testing.T) *http.Client, own bool, method, want string) func(*testing.T, *gate, *process, *process) func(*testing.T) {
		return func(t *testing.T, g *gate, p, callee *process) func(*testing.T) {
			id := callee.id
			if own {
				id = p.id
			}
			var body io.Reader
			if method == "upload" {
				body = g.upload()
			}
			wait := g.send(t, c(t), p.invoke(t, id, method), body)
			return func(t *testing.T) {
				t.Helper()
				if got := wait(t); got != (answer{200, want}) {
					t.Errorf("status %d, %d bytes, want 200 and %d", got.status, len(got.body), len(want))
				}
			}
		}
	}
	stream := strings.Repeat(piece, pieces)
	length := fmt.Sprint(len(stream), " <nil>")
	return map[string]func(t *testing.T, g *gate, p, callee *process) func(*testing.T){
		"own application":            over(client, true, "slow", "done"),
		"own application, stream":    over(client, true, "stream", stream),
		"own application, upload":    over(client, true, "upload", length),
		"own application, HTTP/2":    over(h2c, true, "slow", "done"),
		"remote application":         over(client, false, "slow", "done"),
		"remote application, stream": over(client, false, "stream", stream),
		"remote application, upload": over(client, false, "upload", length),
		"remote application, HTTP/2": over(h2c, false, "stream", stream),
		"call from another sidecar": func(t *testing.T, g *gate, p, callee *process) func(*testing.T) {
			return over(client, false, "stream", stream)(t, g, callee, p)
		},
		"gRPC": func(t *testing.T, g *gate, p, callee *process) func(*testing.T) {
			dapr, got := p.dapr(t), ""
			wait := g.begin(t, func(ctx context.Context) error {
				answer, err := dapr.InvokeService(ctx, invokeRequest(callee.id, "slow", ""))
				got = string(answer.GetData().GetValue())
				return err
			})
			return func(t *testing.T) {
				t.Helper()
				if err := wait(); err != nil || got != "done" {
					t.Errorf("%q, %v", got, err)
				}
			}
		},
	}
}

// inHand starts two sidecars that have one call in hand, and tells the first of them to end.
func inHand(t *testing.T, begin func(t *testing.T, g *gate, p, callee *process) func(*testing.T), grace string) (g *gate, p *process, check func(*testing.T)) {
	t.Helper()
	g = newGate()
	t.Cleanup(g.open)
	m := newMesh(t)
	app := startApplication(t, g.serve)
	callee := m.start(t, m.id("callee"), app.flag())
	p = m.start(t, m.id("app"), app.flag(), "--dapr-graceful-shutdown-seconds", grace)
	check = begin(t, g, p, callee)
	p.signal(t, syscall.SIGTERM)
	return g, p, check
}

// TestSlowCallDrains: each kind of call alone holds back the end until it is answered in full.
func TestSlowCallDrains(t *testing.T) {
	t.Parallel()
	for name, begin := range slowCalls() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, p, check := inHand(t, begin, "0")
			refuses(t, p.internalAddress(t))
			if !strings.HasPrefix(name, "call from") { // those settle before the APIs end
				refuses(t, p.httpAddress(t))
				refuses(t, p.grpcAddress(t))
			}
			g.open()
			check(t)
			p.exits(t, 0)
		})
	}
}

// TestGraceExceeded: what does not end within the grace period is cut, and the exit code says so.
func TestGraceExceeded(t *testing.T) {
	t.Parallel()
	for name, begin := range slowCalls() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, p, _ := inHand(t, begin, "1")
			p.exits(t, 1)
			if !said(t, p, "fatal", []string{"Graceful shutdown timeout exceeded, forcing shutdown", "1s"}) {
				t.Error("the reason is not told")
			}
		})
	}
}

// TestNothingIsLeftBehind: neither sockets nor entries of the registry, and what a killed sidecar leaves is
// no hindrance.
func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	sockets := t.TempDir()
	id := m.id("app")
	files := func(dir string) int {
		found, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	start := func() *process {
		p := m.start(t, id, "--unix-domain-socket", sockets, manifests(t, map[string]string{"store.yaml": memoryStore}))
		for _, kind := range []string{"http", "grpc"} {
			if _, err := os.Stat(filepath.Join(sockets, "dapr-"+id+"-"+kind+".socket")); err != nil {
				t.Error(err)
			}
		}
		state, err := runtimev1.NewDaprClient(dial(t, "unix:"+filepath.Join(sockets, "dapr-"+id+"-grpc.socket"))).
			GetState(t.Context(), &runtimev1.GetStateRequest{StoreName: "store", Key: "none"})
		if err != nil || len(state.GetData()) != 0 {
			t.Errorf("GetState: %v, %v", state, err)
		}
		return p
	}
	killed := start()
	killed.signal(t, syscall.SIGKILL)
	killed.exits(t, -1)
	start().stops(t)
	if n := files(sockets); n != 0 {
		t.Errorf("%d socket files are left", n)
	}
	if n := files(filepath.Join(m.registry, "daprd")); n > 1 { // the killed one's, until somebody looks
		t.Errorf("%d entries of the registry are left", n)
	}
	other := m.start(t, m.id("other"))
	wants(t, call(t, "POST", other.invoke(t, id, "m"), ""), 500, "couldn't find service: "+id)
	other.stops(t)
	if n := files(filepath.Join(m.registry, "daprd")); n != 0 {
		t.Errorf("%d entries of the registry are left", n)
	}
}

// TestShuttingDownSidecarRefuses: a gRPC call that comes too late fails as one that may be made again.
func TestShuttingDownSidecarRefuses(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	p := m.start(t, m.id("app"), manifests(t, map[string]string{"store.yaml": memoryStore}))
	dapr := p.dapr(t)
	request := &runtimev1.GetStateRequest{StoreName: "store", Key: "k"}
	if _, err := dapr.GetState(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	p.stops(t)
	if _, err := dapr.GetState(t.Context(), request); status.Code(err) != codes.Unavailable {
		t.Errorf("%v, want Unavailable", err)
	}
}
