package bindings_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/ready"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// app is an application that takes events.
type app struct {
	channel.App
	wants func(ctx context.Context, name, route string) (bool, error)
	event func(ctx context.Context, event *channel.BindingEvent) (*channel.BindingAnswer, error)
}

func (a *app) WantsBinding(ctx context.Context, name, route string) (bool, error) {
	return a.wants(ctx, name, route)
}

func (a *app) BindingEvent(ctx context.Context, event *channel.BindingEvent) (*channel.BindingAnswer, error) {
	return a.event(ctx, event)
}

func yes(context.Context, string, string) (bool, error) { return true, nil }

func answers(status int, data string) func(context.Context, *channel.BindingEvent) (*channel.BindingAnswer, error) {
	return func(context.Context, *channel.BindingEvent) (*channel.BindingAnswer, error) {
		return &channel.BindingAnswer{Status: status, Data: []byte(data)}, nil
	}
}

// source is an input whose events are those of a channel; lost makes Read end with an error.
type source struct {
	events chan reply
	lost   chan error
	mu     sync.Mutex
	reads  int
	closed bool
}

type reply struct {
	text  string
	reply chan string
}

func newSource() *source { return &source{events: make(chan reply), lost: make(chan error)} }

func (s *source) Read(ctx context.Context, deliver bindings.Handler) error {
	s.mu.Lock()
	s.reads++
	s.mu.Unlock()
	var wait sync.WaitGroup
	defer wait.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.lost:
			return err
		case e := <-s.events:
			wait.Go(func() {
				data, err := deliver(context.WithoutCancel(ctx), &bindings.Event{Data: []byte(e.text), Metadata: map[string]string{"k": "v"}})
				e.reply <- fmt.Sprintf("%s %v", data, err)
			})
		}
	}
}

func (s *source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// send brings an event and gives what became of it.
func (s *source) send(text string) string {
	r := reply{text, make(chan string, 1)}
	s.events <- r
	return <-r.reply
}

// sink is an output that keeps what it was asked.
type sink struct {
	mu     sync.Mutex
	asked  []string
	fail   error
	closed bool
}

func (*sink) Operations() []string { return []string{"create", "get"} }

func (s *sink) Invoke(_ context.Context, req *bindings.Request) (*bindings.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, req.Operation+" "+string(req.Data))
	if req.Operation == "get" {
		return nil, s.fail
	}
	return &bindings.Response{Data: []byte("done"), Metadata: map[string]string{"m": "1"}}, s.fail
}

func (s *sink) Close() error {
	s.closed = true
	return errors.New("cannot close")
}

// bench is a service with its log.
type bench struct {
	*bindings.Service
	app    ready.Slot[channel.App]
	log    bytes.Buffer
	counts *counts
}

type counts struct {
	mu    sync.Mutex
	lines []string
}

func (c *counts) add(line string) func(bool, time.Duration) {
	return func(success bool, _ time.Duration) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lines = append(c.lines, fmt.Sprintf("%s %t", line, success))
	}
}

func (c *counts) InputBinding(component string) func(bool, time.Duration) {
	return c.add("in " + component)
}
func (c *counts) OutputBinding(component, operation string) func(bool, time.Duration) {
	return c.add("out " + component + " " + operation)
}

func newBench(application *app) *bench {
	b := &bench{counts: &counts{}}
	if application != nil {
		b.app.Fill(application)
	}
	log := logrus.New()
	log.SetOutput(&b.log)
	log.SetLevel(logrus.DebugLevel)
	log.SetFormatter(&logrus.TextFormatter{DisableTimestamp: true})
	b.Service = bindings.NewService(bindings.Deps{App: &b.app, Observer: b.counts, Log: log})
	return b
}

func (b *bench) add(t *testing.T, name string, pair bindings.Pair, properties map[string]string) {
	t.Helper()
	settings, err := bindings.ParseSettings(properties)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Add(name, pair, settings); err != nil {
		t.Fatal(err)
	}
}

func TestInvoke(t *testing.T) {
	b := newBench(nil)
	out := &sink{}
	b.add(t, "out", bindings.Pair{Output: out}, nil)
	b.add(t, "in", bindings.Pair{Input: newSource()}, nil)
	tests := map[string]struct {
		name, operation string
		fail            error
		response        *bindings.Response
		want            string
	}{
		"success":           {"out", "create", nil, &bindings.Response{Data: []byte("done"), Metadata: map[string]string{"m": "1"}}, ""},
		"nothing to say":    {"out", "get", nil, nil, ""},
		"unknown":           {"nope", "", nil, nil, "couldn't find output binding nope"},
		"an input":          {"in", "create", nil, nil, "couldn't find output binding in"},
		"no operation":      {"out", "", nil, nil, "operation field is missing from request"},
		"another operation": {"out", "list", nil, nil, "binding out does not support operation list. supported operations:create get"},
		"a failure with metadata": {"out", "create", errors.New("it is full"),
			&bindings.Response{Data: []byte("done"), Metadata: map[string]string{"m": "1"}}, "it is full"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			out.fail = test.fail
			got, err := b.Invoke(t.Context(), test.name, &bindings.Request{Operation: test.operation, Data: []byte("x")})
			if diff := cmp.Diff(test.response, got); diff != "" {
				t.Error(diff)
			}
			text := ""
			if err != nil {
				var row *apierr.Error
				if !errors.As(err, &row) || row.Code != "ERR_INVOKE_OUTPUT_BINDING" {
					t.Errorf("%#v is no row", err)
				}
				text = strings.TrimPrefix(err.Error(), "error invoking output binding "+test.name+": ")
			}
			if text != test.want {
				t.Errorf("%q, want %q", text, test.want)
			}
		})
	}
	slices.Sort(b.counts.lines)
	if diff := cmp.Diff([]string{"out out create false", "out out create true", "out out get true"}, b.counts.lines); diff != "" {
		t.Error(diff)
	}
	if err := b.Close(); err == nil || !strings.Contains(err.Error(), "error closing output binding out: cannot close") || !out.closed {
		t.Errorf("close: %v", err)
	}
}

func TestFeaturesAndNames(t *testing.T) {
	b := newBench(nil)
	b.add(t, "both", bindings.Pair{Input: newSource(), Output: &sink{}}, nil)
	if diff := cmp.Diff([]string{"INPUT_BINDING", "OUTPUT_BINDING"}, b.Features("both")); diff != "" {
		t.Error(diff)
	}
	if got := b.Features("nope"); got != nil {
		t.Errorf("%v", got)
	}
	if err := b.Add("both", bindings.Pair{Output: &sink{}}, bindings.Settings{}); err == nil {
		t.Error("the name was given twice")
	}
}

func TestParseSettings(t *testing.T) {
	tests := map[string]struct {
		properties map[string]string
		want       bindings.Settings
		err        string
	}{
		"nothing": {nil, bindings.Settings{}, ""},
		"a route": {map[string]string{"Route": "/a"}, bindings.Settings{Route: "/a"}, ""},
		"input":   {map[string]string{"direction": "input"}, bindings.Settings{Input: true}, ""},
		"both":    {map[string]string{"Direction": " output , INPUT"}, bindings.Settings{Input: true, Output: true}, ""},
		"a typing error": {map[string]string{"direction": "inptu"}, bindings.Settings{},
			`metadata property direction: want input, output or "input, output", not "inptu"`},
	}
	for name, test := range tests {
		got, err := bindings.ParseSettings(test.properties)
		if diff := cmp.Diff(test.want, got); diff != "" || (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
			t.Errorf("%s: %v, %s", name, err, diff)
		}
	}
	for settings, sides := range map[bindings.Settings][2]bool{{}: {true, true}, {Input: true}: {true, false}, {Output: true}: {false, true},
		{Input: true, Output: true}: {true, true}} {
		if got := [2]bool{settings.WantsInput(), settings.WantsOutput()}; got != sides {
			t.Errorf("%+v: %v", settings, got)
		}
	}
}

// TestEvents: what the application says is what the component hears.
func TestEvents(t *testing.T) {
	down := errors.New("connection refused")
	tests := map[string]struct {
		answer func(context.Context, *channel.BindingEvent) (*channel.BindingAnswer, error)
		want   string
	}{
		"success":         {answers(200, "thanks"), "thanks <nil>"},
		"another success": {answers(204, ""), " <nil>"},
		"a gRPC success":  {answers(0, "thanks"), "thanks <nil>"},
		"refused":         {answers(500, "no"), " fails to send binding event to http app channel, status code: 500 body: no"},
		"not found":       {answers(404, ""), " fails to send binding event to http app channel, status code: 404 body: "},
		"away": {func(context.Context, *channel.BindingEvent) (*channel.BindingAnswer, error) { return nil, down },
			" error invoking app: connection refused"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var seen *channel.BindingEvent
			b := newBench(&app{wants: yes, event: func(ctx context.Context, e *channel.BindingEvent) (*channel.BindingAnswer, error) {
				seen = e
				return test.answer(ctx, e)
			}})
			in := newSource()
			b.add(t, "in", bindings.Pair{Input: in}, map[string]string{"route": "/r"})
			if err := b.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := in.send("x"); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
			if err := b.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			want := &channel.BindingEvent{Name: "in", Route: "/r", Data: []byte("x"), Metadata: map[string]string{"k": "v"}}
			if diff := cmp.Diff(want, seen); diff != "" {
				t.Error(diff)
			}
			failed := !strings.HasSuffix(test.want, "<nil>")
			if diff := cmp.Diff([]string{fmt.Sprintf("in in %t", !failed)}, b.counts.lines); diff != "" {
				t.Error(diff)
			}
			if got := strings.Contains(b.log.String(), "error from app consumer for binding [in]"); got != failed {
				t.Errorf("log: %s", &b.log)
			}
			if err := b.Close(); err != nil || !in.closed {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// TestInstructions: an answer's data go to the outputs that it names; the event is done whatever becomes of them.
func TestInstructions(t *testing.T) {
	for name, test := range map[string]struct {
		answer channel.BindingAnswer
		one    []string
		two    []string
		log    string
	}{
		"in sequence":    {channel.BindingAnswer{Data: []byte(`{"a":1}`), To: []string{"one", "two"}}, []string{`create {"a":1}`}, []string{`create {"a":1}`}, ""},
		"at once":        {channel.BindingAnswer{Data: []byte(`1`), To: []string{"nope", "one", "two"}, Parallel: true}, []string{"create 1"}, []string{"create 1"}, "couldn't find output binding nope"},
		"up to an error": {channel.BindingAnswer{Data: []byte(`1`), To: []string{"one", "nope", "two"}}, []string{"create 1"}, nil, "couldn't find output binding nope"},
		"no JSON":        {channel.BindingAnswer{Data: []byte(`{`), To: []string{"one"}}, nil, nil, "is no JSON"},
		"no data":        {channel.BindingAnswer{To: []string{"one"}}, nil, nil, ""},
		"nobody":         {channel.BindingAnswer{Data: []byte(`1`)}, nil, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(&app{wants: yes, event: func(context.Context, *channel.BindingEvent) (*channel.BindingAnswer, error) {
				return &test.answer, nil
			}})
			in, one, two := newSource(), &sink{}, &sink{}
			b.add(t, "in", bindings.Pair{Input: in}, nil)
			b.add(t, "one", bindings.Pair{Output: one}, nil)
			b.add(t, "two", bindings.Pair{Output: two}, nil)
			_ = b.Start(t.Context())
			if got, want := in.send("x"), string(test.answer.Data)+" <nil>"; got != want {
				t.Errorf("%q, want %q", got, want)
			}
			_ = b.Close()
			if diff := cmp.Diff([][]string{test.one, test.two}, [][]string{one.asked, two.asked}); diff != "" {
				t.Error(diff)
			}
			if logged := strings.Contains(b.log.String(), "error executing app response: "); logged != (test.log != "") || !strings.Contains(b.log.String(), test.log) {
				t.Errorf("log: %s", &b.log)
			}
		})
	}
}

// TestNotWanted: an application that does not want the events is asked once per start; one that is not asked gets them.
func TestNotWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		b := newBench(&app{event: answers(200, ""), wants: func(_ context.Context, name, route string) (bool, error) {
			asked++
			return false, nil
		}})
		unwanted, explicit := newSource(), newSource()
		b.add(t, "unwanted", bindings.Pair{Input: unwanted}, nil)
		b.add(t, "explicit", bindings.Pair{Input: explicit}, map[string]string{"direction": "input"})
		_ = b.Start(t.Context())
		_ = b.Start(t.Context())
		synctest.Wait()
		if unwanted.reads != 0 || explicit.reads != 1 || asked != 1 {
			t.Errorf("%d, %d reads, %d questions", unwanted.reads, explicit.reads, asked)
		}
		if !strings.Contains(b.log.String(), "app has not subscribed to binding unwanted.") {
			t.Errorf("log: %s", &b.log)
		}
		_ = b.Close()
	})
}

// TestSlowApplication: a probe that fails is told once and repeated until the application answers (dapr#3660).
func TestSlowApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		b := newBench(&app{event: answers(200, ""), wants: func(ctx context.Context, _, _ string) (bool, error) {
			if asked++; asked < 5 {
				<-ctx.Done()
				return false, ctx.Err()
			}
			return true, nil
		}})
		in := newSource()
		b.add(t, "in", bindings.Pair{Input: in}, nil)
		began := time.Now()
		_ = b.Start(t.Context())
		if got := in.send("x"); got != " <nil>" {
			t.Error(got)
		}
		if waited := time.Since(began); asked != 5 || waited < 4*bindings.DefaultProbeTimeout || waited > time.Minute {
			t.Errorf("%d questions in %s", asked, waited)
		}
		if warned := strings.Count(b.log.String(), "could not ask the app whether it takes the events of binding in: context deadline exceeded"); warned != 1 {
			t.Errorf("%d warnings: %s", warned, &b.log)
		}
		_ = b.Close()
	})
}

// TestLostSource: a source that is lost is read again, which the log tells once for each change.
func TestLostSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(&app{wants: yes, event: answers(200, "")})
		in := newSource()
		b.add(t, "in", bindings.Pair{Input: in}, nil)
		_ = b.Start(t.Context())
		for _, err := range []error{errors.New("gone"), errors.New("gone"), errors.New("gone"), errors.New("refused"), nil} {
			in.lost <- err
		}
		if got := in.send("x"); got != " <nil>" {
			t.Error(got)
		}
		in.lost <- errors.New("gone")
		in.send("x")
		_ = b.Close()
		for line, want := range map[string]int{"error reading from input binding in: gone; it is tried again": 2,
			"error reading from input binding in: refused": 1, "the source ended without a reason": 1, "input binding in brings events again": 2} {
			if got := strings.Count(b.log.String(), line); got != want {
				t.Errorf("%d times %q, want %d: %s", got, line, want, &b.log)
			}
		}
		if in.reads != 7 {
			t.Errorf("%d reads", in.reads)
		}
	})
}

// TestStop: Stop waits for the event in hand, as long as its context lives; Close cuts it off.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := newBench(&app{wants: yes, event: func(ctx context.Context, _ *channel.BindingEvent) (*channel.BindingAnswer, error) {
			select {
			case <-release:
				return &channel.BindingAnswer{Status: 200}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}})
		in := newSource()
		b.add(t, "in", bindings.Pair{Input: in}, nil)
		_ = b.Start(t.Context())
		got := make(chan string, 1)
		begin := func() {
			go func() { got <- in.send("x") }()
			synctest.Wait()
		}
		begin()
		stopped := make(chan error, 1)
		go func() { stopped <- b.Stop(t.Context()) }()
		synctest.Wait()
		select {
		case err := <-stopped:
			t.Fatalf("Stop returned %v with an event in hand", err)
		default:
		}
		release <- struct{}{}
		if err := <-stopped; err != nil || <-got != " <nil>" {
			t.Errorf("%v", err)
		}

		_ = b.Start(t.Context())
		synctest.Wait()
		begin()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop gave %v", err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if text := <-got; text != " error invoking app: context canceled" {
			t.Errorf("the event that was cut off: %s", text)
		}
	})
}

// TestChanges: a binding may come, be replaced and go while inputs are read.
func TestChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(&app{wants: yes, event: answers(200, "")})
		_ = b.Start(t.Context())
		first, second := newSource(), newSource()
		b.add(t, "in", bindings.Pair{Input: first}, nil)
		if got := first.send("x"); got != " <nil>" {
			t.Error(got)
		}
		if err := b.Replace(t.Context(), "in", bindings.Pair{Input: second}, bindings.Settings{}); err != nil || !first.closed {
			t.Errorf("replace: %v", err)
		}
		if got := second.send("x"); got != " <nil>" {
			t.Error(got)
		}
		if err := b.Remove(t.Context(), "in"); err != nil || !second.closed {
			t.Errorf("remove: %v", err)
		}
		if err := b.Remove(t.Context(), "in"); err != nil {
			t.Errorf("remove again: %v", err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestWithoutApplication: without one nothing is read, and the log says so in the words of Dapr's trace.
func TestWithoutApplication(t *testing.T) {
	b := newBench(nil)
	in := newSource()
	b.add(t, "in", bindings.Pair{Input: in}, map[string]string{"direction": "input"})
	if err := b.Start(t.Context()); err != nil || in.reads != 0 {
		t.Errorf("%v, %d reads", err, in.reads)
	}
	if !strings.Contains(b.log.String(), `"failed to read from bindings: app channel not initialized "`) {
		t.Errorf("log: %s", &b.log)
	}
	_ = b.Close()
}
