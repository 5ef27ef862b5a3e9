package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

// load is what workers do until they are told to stop, or, when the sidecar is to end, until it refuses.
type load struct {
	gate *gate
	// untilRefused ends a worker at its first failure, which is none of the test's when the call had not
	// reached the application.
	untilRefused bool

	stop     chan struct{}
	workers  sync.WaitGroup
	calls    atomic.Int64
	failures atomic.Int64
}

func newLoad(g *gate, untilRefused bool) *load {
	return &load{gate: g, untilRefused: untilRefused, stop: make(chan struct{})}
}

// start begins n workers. The call gets an id that it shows to the application.
func (l *load) start(t *testing.T, n int, name string, call func(ctx context.Context, id string) error) {
	t.Helper()
	for worker := range n {
		l.workers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-l.stop:
					return
				default:
				}
				id := fmt.Sprintf("%s-%d-%d", name, worker, i)
				if err := call(context.Background(), id); err == nil {
					l.calls.Add(1)
				} else if l.failed(t, id, err) {
					return
				}
			}
		})
	}
	t.Cleanup(l.end)
}

// failed judges a failure and says whether the worker ends.
func (l *load) failed(t *testing.T, id string, err error) bool {
	l.failures.Add(1)
	cut := new(cutOff)
	switch {
	case !l.untilRefused:
		t.Errorf("call %s failed: %v", id, err)
	case errors.As(err, &cut):
		t.Errorf("the answer of call %s is cut off: %v", id, err)
	case l.gate.was(id):
		t.Errorf("call %s had reached the application and failed: %v", id, err)
	case !refused(err):
		t.Errorf("call %s failed otherwise than by a refusal: %v", id, err)
	}
	return l.untilRefused
}

// refused says whether the connection could not be made or was closed before any byte of an answer.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, io.EOF) || strings.Contains(err.Error(), "server closed idle connection") || status.Code(err) == codes.Unavailable
}

// reaches waits until so many more calls have succeeded.
func (l *load) reaches(t *testing.T, more int64) {
	t.Helper()
	goal := l.calls.Load() + more
	eventually(t, strconv.FormatInt(more, 10)+" more calls", func() bool { return l.calls.Load() >= goal || t.Failed() })
}

func (l *load) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.workers.Wait()
}

// post is a call with the body id to an application that echoes.
func post(c *http.Client, url string) func(context.Context, string) error {
	return func(ctx context.Context, id string) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(id))
		if err != nil {
			return err
		}
		request.Header.Set("Call", id)
		response, err := c.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		switch {
		case err != nil:
			return &cutOff{err}
		case response.StatusCode != http.StatusOK || string(body) != id:
			return fmt.Errorf("status %d, %s", response.StatusCode, body)
		}
		return nil
	}
}

// state reads a value.
func state(c *http.Client, url string) func(context.Context, string) error {
	return func(ctx context.Context, _ string) error {
		a, err := try(ctx, c, http.MethodGet, url, nil)
		if err == nil && (a.status != http.StatusOK || a.body != `"v"`) {
			err = fmt.Errorf("status %d, %s", a.status, a.body)
		}
		return err
	}
}

// invokes is post over gRPC.
func invokes(dapr runtimev1.DaprClient, app string) func(context.Context, string) error {
	return func(ctx context.Context, id string) error {
		answer, err := dapr.InvokeService(metadata.AppendToOutgoingContext(ctx, "Call", id), invokeRequest(app, "fast", id))
		if err == nil && string(answer.GetData().GetValue()) != id {
			err = fmt.Errorf("answer %s", answer.GetData().GetValue())
		}
		return err
	}
}

// h2c is a client that speaks HTTP/2 without TLS.
func h2c(t *testing.T) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// inFlight makes a call of every kind to the application through p and returns when all have reached it. What
// it returns checks that all were answered in full.
func inFlight(t *testing.T, g *gate, p *process, app string) func(*testing.T) {
	t.Helper()
	whole := strings.Repeat(piece, pieces)
	length := strconv.Itoa(len(whole)) + " <nil>"
	type sent struct {
		name, want string
		wait       func(*testing.T) answer
	}
	var all []sent
	add := func(name, want string, wait func(*testing.T) answer) { all = append(all, sent{name, want, wait}) }
	for name, c := range map[string]*http.Client{"HTTP/1.1": client(t), "HTTP/2": h2c(t)} {
		for range 2 {
			add(name+" slow", "done", g.send(t, c, p.invoke(t, app, "slow"), strings.NewReader("x")))
			add(name+" stream", whole, g.send(t, c, p.invoke(t, app, "stream"), nil))
			add(name+" upload", length, g.send(t, c, p.invoke(t, app, "upload"), g.upload()))
		}
	}
	dapr := p.dapr(t)
	var got string
	wait := g.begin(t, func(ctx context.Context) error {
		answer, err := dapr.InvokeService(ctx, invokeRequest(app, "slow", ""))
		got = string(answer.GetData().GetValue())
		return err
	})
	return func(t *testing.T) {
		t.Helper()
		for _, s := range all {
			if a := s.wait(t); a.status != http.StatusOK || a.body != s.want {
				t.Errorf("%s: status %d, %d bytes, want 200 and %d", s.name, a.status, len(a.body), len(s.want))
			}
		}
		if err := wait(); err != nil || got != "done" {
			t.Errorf("gRPC: %q, %v", got, err)
		}
	}
}

// TestTerminatedUnderLoad: a sidecar that is told to end answers in full what it has begun to read, slow and
// fast, to its own application, to another's and to its store, and refuses the rest.
func TestTerminatedUnderLoad(t *testing.T) {
	g, others := newGate(), newGate()
	defer g.open()
	defer others.open()
	m := newMesh(t)
	other := m.start(t, m.id("other"), startApplication(t, others.serve).flag())
	p := m.start(t, m.id("app"), startApplication(t, g.serve).flag(), "--dapr-graceful-shutdown-seconds", "30",
		manifests(t, map[string]string{"store.yaml": memoryStore}))
	wants(t, call(t, "POST", p.url(t, "/v1.0/state/store"), `[{"key":"k","value":"v"}]`), 204)
	own, remote := inFlight(t, g, p, p.id), inFlight(t, others, p, other.id)
	inbound := inFlight(t, g, other, p.id)

	near, far := newLoad(g, true), newLoad(others, true)
	near.start(t, 4, "own", post(client(t), p.invoke(t, p.id, "fast")))
	near.start(t, 2, "own-h2", post(h2c(t), p.invoke(t, p.id, "fast")))
	near.start(t, 2, "state", state(client(t), p.url(t, "/v1.0/state/store/k")))
	near.start(t, 2, "grpc", invokes(p.dapr(t), p.id))
	far.start(t, 4, "remote", post(client(t), p.invoke(t, other.id, "fast")))
	far.start(t, 2, "remote-grpc", invokes(p.dapr(t), other.id))
	near.reaches(t, 200)
	far.reaches(t, 100)

	p.signal(t, syscall.SIGTERM)
	p.awaits(t, "Waiting 30s to finish outstanding operations")
	g.open()
	own(t)
	inbound(t)
	// What is in hand at another's application holds the APIs back, and only that.
	refuses(t, p.httpAddress(t))
	refuses(t, p.grpcAddress(t))
	others.open()
	remote(t)
	p.exits(t, 0)
	near.workers.Wait()
	far.workers.Wait()
	t.Logf("%d and %d calls were answered, %d were refused at the end", near.calls.Load(), far.calls.Load(), near.failures.Load()+far.failures.Load())
}

// refuses waits until nobody takes connections at the address.
func refuses(t *testing.T, address string) {
	t.Helper()
	eventually(t, "no more connections are taken at "+address, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}

// TestApplicationWorksWhileInboundDrains: an application that is still answering a call from another sidecar
// reaches its store, and others, through the sidecar that is ending.
func TestApplicationWorksWhileInboundDrains(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	var p *process
	other := m.start(t, m.id("other"), startApplication(t, greet("other")).flag())
	entered, proceed := make(chan struct{}), make(chan struct{})
	app := startApplication(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/work" {
			return
		}
		close(entered)
		<-proceed
		c := client(t)
		saved, err := try(r.Context(), c, "POST", p.url(t, "/v1.0/state/store"), strings.NewReader(`[{"key":"k","value":"v"}]`))
		fmt.Fprintln(w, saved.status, err)
		asked, err := try(r.Context(), c, "POST", p.invoke(t, other.id, "m"), nil)
		fmt.Fprintln(w, asked.body, err)
		got, err := p.dapr(t).GetState(r.Context(), &runtimev1.GetStateRequest{StoreName: "store", Key: "k"})
		fmt.Fprintln(w, string(got.GetData()), err)
	})
	p = m.start(t, m.id("app"), app.flag(), "--dapr-graceful-shutdown-seconds", "30", manifests(t, map[string]string{"store.yaml": memoryStore}))
	done := make(chan answer, 1)
	go func() { done <- call(t, "POST", other.invoke(t, p.id, "work"), "") }()
	<-entered
	p.signal(t, syscall.SIGTERM)
	p.awaits(t, "Waiting 30s to finish outstanding operations")
	refuses(t, p.internalAddress(t))
	if entries, _ := filepath.Glob(filepath.Join(m.registry, "daprd", p.id+".*")); len(entries) != 0 {
		t.Errorf("others are still sent here: %v", entries)
	}
	close(proceed)
	wants(t, <-done, 200, "204 <nil>\n", "other <nil>\n", "\"v\" <nil>\n")
	p.exits(t, 0)
}

// TestBodyThatNeverEndsIsCut: an upload whose client goes on for ever does not hold up the end for ever.
func TestBodyThatNeverEndsIsCut(t *testing.T) {
	t.Parallel()
	g := newGate()
	m := newMesh(t)
	callee := m.start(t, m.id("callee"), startApplication(t, g.serve).flag())
	p := m.start(t, m.id("app"), "--dapr-graceful-shutdown-seconds", "1", "--max-body-size", "0")
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	go func() {
		for ctx.Err() == nil {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 1024)); err != nil {
				return
			}
		}
	}()
	defer func() {
		cancel()
		w.CloseWithError(context.Canceled)
	}()
	g.begin(t, func(context.Context) error {
		_, err := try(ctx, h2c(t), "POST", p.invoke(t, callee.id, "upload"), r)
		return err
	})
	p.signal(t, syscall.SIGTERM)
	p.exits(t, 1)
	callee.stops(t)
}
