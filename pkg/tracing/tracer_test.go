package tracing

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"go.opencensus.io/trace"
	"google.golang.org/grpc/codes"

	"github.com/daprd/daprd/pkg/config"
)

const (
	sampled   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
)

// collector is an exporter that keeps what it is sent; nil from fail is a success.
type collector struct {
	mu      sync.Mutex
	batches [][]*trace.SpanData
	fail    func(ctx context.Context) error
	closed  bool
}

func (*collector) kind() string { return "test" }
func (*collector) name() string { return "the test" }
func (c *collector) close()     { c.closed = true }
func (c *collector) send(ctx context.Context, spans []*trace.SpanData) error {
	if c.fail != nil {
		if err := c.fail(ctx); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.batches = append(c.batches, append([]*trace.SpanData(nil), spans...))
	return nil
}

// all are the spans so far.
func (c *collector) all() (spans []*trace.SpanData) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, batch := range c.batches {
		spans = append(spans, batch...)
	}
	return spans
}

func quiet(to io.Writer) logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(to)
	return log
}

// exportingTo is a tracer whose spans the collector gets.
func exportingTo(t testing.TB, c exporter, rate float64, log io.Writer) *Tracer {
	t.Helper()
	tracer := New(Deps{AppID: "app", Log: quiet(log)})
	tracer.sampler = sampler(rate)
	tracer.exporting = []*exporting{export(c, tracer.deps)}
	trace.RegisterExporter(tracer)
	return tracer
}

func TestStart(t *testing.T) {
	for name, test := range map[string]struct {
		rate          float64
		parent, state string
		// trace is the trace id that stays, flags and state what is passed on.
		trace, flags, passed string
	}{
		"sampled parent":    {0, sampled, "a=b, c=d", sampled[3:35], "01", "a=b,c=d"},
		"unsampled parent":  {1, unsampled, "", sampled[3:35], "00", ""},
		"no parent":         {1, "", "a=b", "", "01", ""},
		"no parent, rarely": {0, "", "", "", "00", ""},
		"zero parent":       {1, ZeroParent, "", "", "01", ""},
		"unreadable parent": {1, "00-x", "", "", "01", ""},
		"unreadable state":  {1, sampled, "=,=", sampled[3:35], "01", ""},
		"long state":        {1, sampled, "a=" + strings.Repeat("b", 511), sampled[3:35], "01", ""},
		"later version":     {1, "01" + sampled[2:] + "-more", "", sampled[3:35], "01", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := &collector{}
			tracer := exportingTo(t, c, test.rate, io.Discard)
			span := tracer.Start(Server, test.parent, test.state)
			parent := span.Parent()
			if _, ok := Binary(parent); !ok || test.trace != "" && parent[3:35] != test.trace || parent[53:] != test.flags || parent[36:52] == sampled[36:52] {
				t.Errorf("parent %s", parent)
			}
			if span.State() != test.passed {
				t.Errorf("state %q", span.State())
			}
			span.EndGRPC(codes.OK, "")
			tracer.Close(t.Context())
			got := c.all()
			if len(got) != map[string]int{"01": 1, "00": 0}[test.flags] {
				t.Fatalf("%d spans", len(got))
			}
			if len(got) > 0 && got[0].SpanID.String() != parent[36:52] || !c.closed {
				t.Errorf("span %v", got[0])
			}
		})
	}
}

// TestWithout: a tracer that makes no spans costs nobody anything.
func TestWithout(t *testing.T) {
	var none *Tracer
	for _, tracer := range []*Tracer{none, New(Deps{})} {
		if tracer.On() || tracer.Off() || tracer.Start(Client, sampled, "") != nil {
			t.Error("it makes spans")
		}
	}
	var span *Span
	span.Name("n")
	span.Set("k", "v")
	span.Call("id", "m")
	span.EndHTTP(500)
	span.EndGRPC(codes.Internal, "")
	span.End(errors.New("x"))
	if span.Recording() {
		t.Error("nobody records")
	}
}

func TestConfigure(t *testing.T) {
	for name, test := range map[string]struct {
		spec    config.TracingSpec
		on, off bool
	}{
		"nothing":            {config.TracingSpec{}, false, false},
		"rate alone":         {config.TracingSpec{SamplingRate: "1"}, true, false},
		"no number":          {config.TracingSpec{SamplingRate: "often"}, true, false},
		"zero":               {config.TracingSpec{SamplingRate: "0", Stdout: true}, false, true},
		"zero in other form": {config.TracingSpec{SamplingRate: "0.000"}, false, true},
		"exporter alone":     {config.TracingSpec{Stdout: true}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			tracer := New(Deps{Log: quiet(io.Discard), Spans: quiet(io.Discard)})
			if err := tracer.Configure(test.spec, func(string) string { return "" }); err != nil {
				t.Fatal(err)
			}
			if tracer.On() != test.on || tracer.Off() != test.off {
				t.Errorf("on %t, off %t", tracer.On(), tracer.Off())
			}
			tracer.Close(t.Context())
		})
	}
	for word, want := range map[string]float64{"": defaultRate, "x": defaultRate, "-1": defaultRate, "NaN": defaultRate, "0": 0, "0.25": 0.25, "1": 1, "7": 1} {
		if got := rateOf(word); got != want {
			t.Errorf("rate %q is %g, want %g", word, got, want)
		}
	}
}

// TestTwoTracers: sidecars in one process export their own spans alone.
func TestTwoTracers(t *testing.T) {
	a, b := &collector{}, &collector{}
	one, other := exportingTo(t, a, 1, io.Discard), exportingTo(t, b, 1, io.Discard)
	span := one.Start(Client, "", "")
	span.Name("of one")
	span.EndHTTP(200)
	one.Close(t.Context())
	other.Close(t.Context())
	if len(a.all()) != 1 || len(b.all()) != 0 {
		t.Errorf("%d and %d spans", len(a.all()), len(b.all()))
	}
	if diff := cmp.Diff(map[string]any{"dapr.status_code": "200", "http.response.status_code": int64(200)}, a.all()[0].Attributes); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

// TestBatches: spans go together after a second, many at once, and a span is never waited for.
func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{}
		e := export(c, Deps{Log: quiet(io.Discard)})
		for range 3 {
			e.offer(&trace.SpanData{})
		}
		time.Sleep(batchTime - time.Nanosecond)
		synctest.Wait()
		if got := len(c.all()); got != 0 {
			t.Errorf("%d spans before the time", got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if len(c.batches) != 1 || len(c.batches[0]) != 3 {
			t.Errorf("batches %v", c.batches)
		}
		for range batched {
			e.offer(&trace.SpanData{})
		}
		synctest.Wait()
		if len(c.batches) != 2 || len(c.batches[1]) != batched {
			t.Errorf("%d batches", len(c.batches))
		}
		e.offer(&trace.SpanData{})
		e.end()
		if e.wait(t.Context()); len(c.all()) != batched+4 {
			t.Errorf("%d spans", len(c.all()))
		}
	})
}

// losses is an Observer.
type losses struct{ dropped map[string]int }

func (l losses) SpansDropped(exporter string, spans int) { l.dropped[exporter] += spans }

// TestSlowExporter: what cannot wait is dropped and counted, and the log tells once of each turn.
func TestSlowExporter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		release := make(chan error)
		c := &collector{fail: func(context.Context) error { return <-release }}
		count := losses{map[string]int{}}
		e := export(c, Deps{Log: quiet(&log), Observer: count})
		fill := func(n int) {
			for range n {
				e.offer(&trace.SpanData{})
			}
			synctest.Wait()
		}
		fill(batched) // is being sent
		fill(queued + 7)
		release <- final(errors.New("nobody there"))
		synctest.Wait()
		release <- final(errors.New("nobody there"))
		for range queued/batched - 1 {
			synctest.Wait()
			release <- nil
		}
		synctest.Wait()
		e.end()
		if e.wait(t.Context()); len(c.all()) != queued-batched || count.dropped["test"] != 2*batched+7 {
			t.Errorf("%d spans, %v dropped", len(c.all()), count)
		}
		for line, times := range map[string]int{
			"traces cannot be exported to the test and are dropped until they can: nobody there": 1,
			"traces are exported to the test again; 1031 spans were dropped":                     1,
			"before the end": 0,
		} {
			if got := strings.Count(log.String(), line); got != times {
				t.Errorf("%d times %q in\n%s", got, line, log.String())
			}
		}
	})
}

// TestAttempts: a failure is tried again for as long as there is patience.
func TestAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, attempts := time.Now(), 0
		c := &collector{fail: func(context.Context) error {
			if attempts++; time.Since(began) < patience/2 {
				return errors.New("not yet")
			}
			return nil
		}}
		e := export(c, Deps{Log: quiet(io.Discard)})
		e.offer(&trace.SpanData{})
		e.end()
		if e.wait(t.Context()); len(c.all()) != 1 || attempts < 5 {
			t.Errorf("%d spans after %d attempts", len(c.all()), attempts)
		}
	})
}

// TestEndOfTime: what cannot be sent in time is given up, which the log says.
func TestEndOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		c := &collector{fail: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		e := export(c, Deps{Log: quiet(&log)})
		e.offer(&trace.SpanData{})
		e.end()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if e.wait(ctx); !strings.Contains(log.String(), "1 spans could not be exported to the test before the end") || !c.closed {
			t.Errorf("log %s", log.String())
		}
	})
}

// TestEndWithoutCollector: nobody waits at the end for a collector that is known to be away.
func TestEndWithoutCollector(t *testing.T) {
	for name, waiting := range map[string]int{"between attempts": batched, "with nothing on its way": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				attempts := 0
				c := &collector{fail: func(context.Context) error { attempts++; return errors.New("nobody there") }}
				e := export(c, Deps{Log: quiet(io.Discard)})
				e.offer(&trace.SpanData{})
				time.Sleep(batchTime + 2*patience)
				synctest.Wait()
				for range waiting {
					e.offer(&trace.SpanData{})
				}
				synctest.Wait()
				began, before := time.Now(), attempts
				e.end()
				if e.wait(t.Context()); time.Since(began) != 0 || attempts > before+1 {
					t.Errorf("the end took %s of simulated time and %d attempts", time.Since(began), attempts-before)
				}
			})
		})
	}
}

// TestTextsOfCallers are bounded and UTF-8, and no memory of theirs.
func TestTextsOfCallers(t *testing.T) {
	for given, want := range map[string]string{"ok": "ok", "a\xffb": "a\uFFFDb", strings.Repeat("ä", longestText): strings.Repeat("ä", longestText/2)} {
		if got := text(given); got != want {
			t.Errorf("%.20q became %.20q", given, got)
		}
	}
}

// TestHeaders: those of Dapr are shown, but no secrets.
func TestHeaders(t *testing.T) {
	c := &collector{}
	tracer := exportingTo(t, c, 1, io.Discard)
	span := tracer.Start(Client, "", "")
	span.Headers(func(yield func(string, string) bool) {
		_ = yield("Dapr-App-Id", "a") && yield("dapr-x-bin", "\x01") && yield("Dapr-Api-Token", "secret") && yield("Accept", "b")
	})
	span.End(nil)
	tracer.Close(t.Context())
	if diff := cmp.Diff(map[string]any{"dapr-app-id": "a"}, c.all()[0].Attributes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func BenchmarkOff(b *testing.B) {
	tracer := New(Deps{})
	b.ReportAllocs()
	for b.Loop() {
		span := tracer.Start(Client, sampled, "")
		if span.Recording() {
			span.Name("n")
		}
		span.EndHTTP(200)
	}
}

func BenchmarkUnsampled(b *testing.B) {
	tracer := New(Deps{})
	tracer.sampler = sampler(defaultRate)
	b.ReportAllocs()
	for b.Loop() {
		tracer.Start(Client, unsampled, "").EndHTTP(200)
	}
}

type nowhere struct{}

func (nowhere) kind() string                                  { return "nowhere" }
func (nowhere) name() string                                  { return "nowhere" }
func (nowhere) close()                                        {}
func (nowhere) send(context.Context, []*trace.SpanData) error { return nil }

func BenchmarkSampled(b *testing.B) {
	tracer := exportingTo(b, nowhere{}, 1, io.Discard)
	b.ReportAllocs()
	for b.Loop() {
		span := tracer.Start(Client, sampled, "")
		span.Call("app", "method")
		span.EndHTTP(200)
	}
	tracer.Close(b.Context())
}

// TestOffAllocatesNothing: what every call does where no spans are made.
func TestOffAllocatesNothing(t *testing.T) {
	var none *Tracer
	for name, tracer := range map[string]*Tracer{"nil": none, "default": New(Deps{})} {
		if n := testing.AllocsPerRun(100, func() {
			span := tracer.Start(Client, sampled, "a=b")
			span.Name("n")
			span.Set("k", "v")
			span.EndHTTP(200)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// FuzzStart: whatever comes as a context, what goes on is one that everybody reads, in the trace that came where one can
// be read of version 00.
func FuzzStart(f *testing.F) {
	for _, parent := range []string{"", sampled, unsampled, ZeroParent, "01" + sampled[2:] + "-more", sampled + "-", "ff" + sampled[2:], "00-x", "\xff"} {
		f.Add(parent, "a=b,c=d")
	}
	f.Add(sampled, "a=b,,=,c@d=\x00")
	f.Add(sampled, strings.Repeat("a=b,", 200))
	tracer := New(Deps{})
	tracer.sampler = sampler(1)
	f.Fuzz(func(t *testing.T, parent, state string) {
		span := tracer.Start(Server, parent, state)
		binary, ok := Binary(span.Parent())
		if again, _ := Parent(binary); !ok || again != span.Parent() || span.Parent() == ZeroParent {
			t.Errorf("%q became %q", parent, span.Parent())
		}
		if len(span.State()) > 512 || strings.ContainsFunc(span.State(), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("state %q became %q", state, span.State())
		}
		if came, ok := Binary(parent); ok && came[2:18] != strings.Repeat("\x00", 16) && came[19:27] != strings.Repeat("\x00", 8) && binary[2:18] != came[2:18] {
			t.Errorf("%q became %q", parent, span.Parent())
		}
		span.End(nil)
	})
}
