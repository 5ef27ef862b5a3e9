package components_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/secrets"
	"github.com/daprd/daprd/pkg/state"
)

// server is what is behind state.remote: it may be away.
type server struct {
	away  atomic.Bool
	asked atomic.Int64
	// refuses is an answer of the server that no other try would change.
	refuses atomic.Bool

	mu     sync.Mutex
	closed []string
}

var errRefused = &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 6379}, Err: syscall.ECONNREFUSED}

const refused = "dial tcp 127.0.0.1:6379: connection refused"

func (s *server) dial(_ context.Context, spec *components.Spec) (state.Store, error) {
	s.asked.Add(1)
	switch {
	case s.away.Load():
		return nil, errRefused
	case s.refuses.Load(), spec.Properties["password"] == "wrong":
		return nil, errors.New("WRONGPASS")
	}
	return &remote{server: s, version: spec.Properties["version"]}, nil
}

type remote struct {
	shelf
	server  *server
	version string
}

func (r *remote) Ping(context.Context) error {
	r.server.asked.Add(1)
	if r.server.away.Load() {
		return errRefused
	}
	return nil
}

func (r *remote) Close() error {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	r.server.closed = append(r.server.closed, r.version)
	return nil
}

// remotely runs a loader that knows state.remote and secretstores.plain, in the bubble of a test.
func remotely(t *testing.T) (*bench, *server) {
	t.Helper()
	b := &bench{state: state.NewService(state.Deps{AppID: "app"}), secrets: secrets.NewService(secrets.Deps{}), log: &lines{}, counted: &tally{}}
	s := &server{}
	set := components.NewSet()
	set.State.Register(s.dial, "remote")
	set.SecretStore.Register(func(_ context.Context, spec *components.Spec) (secrets.Store, error) {
		return &safe{values: map[string]string{"db.version": spec.Properties["version"]}}, nil
	}, "plain")
	log := logrus.New()
	log.SetOutput(b.log)
	log.SetFormatter(plainFormat{})
	b.Loader = components.NewLoader(components.Deps{Set: set, State: b.state, Secrets: b.secrets, Counter: b.counted,
		Log: logrus.NewEntry(log), ComponentLog: logrus.NewEntry(log)})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { b.Run(ctx) })
	b.stop = func() {
		cancel()
		running.Wait()
	}
	return b, s
}

func versioned(name, version string, more ...string) string {
	return manifest(name, "state.remote", append([]string{metadata, property("version", version)}, more...)...)
}

// TestServerComesLate: a start waits for a server as long as initTimeout says.
func TestServerComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := remotely(t)
		defer b.stop()
		s.away.Store(true)
		time.AfterFunc(90*time.Second, func() { s.away.Store(false) })
		if errs := b.load(t, manifest("st", "state.remote", "  initTimeout: 2m\n")); len(errs) > 0 {
			t.Fatal(errs)
		}
		if n := s.asked.Load(); n > 30 {
			t.Errorf("%d tries", n)
		}
		want := "info component st (state.remote/v1) cannot be reached: " + refused + "; it is tried again within 2m0s (spec.initTimeout)\n"
		if strings.Count(b.log.String(), want) != 1 {
			t.Errorf("log\n%s", b.log)
		}
		s.away.Store(true)
		began := time.Now()
		err := b.load(t, manifest("other", "state.remote"))["other"]
		if err == nil || !strings.Contains(err.Error(), "init timeout for component other exceeded after 5s: "+refused) || time.Since(began) != 5*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		s.away.Store(false)
		// What is no matter of reaching the server is not tried again.
		began = time.Now()
		if err := b.load(t, manifest("other", "state.remote", metadata, property("password", "wrong")))["other"]; err == nil || time.Since(began) > 0 {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

// TestIgnoredAndTriedAgain: with ignoreErrors the start goes on at once, and the component comes when its server does.
func TestIgnoredAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := remotely(t)
		defer b.stop()
		s.away.Store(true)
		began := time.Now()
		if errs := b.load(t, manifest("st", "state.remote", ignore)); len(errs) > 0 || time.Since(began) > 0 {
			t.Fatal(errs, time.Since(began))
		}
		outages := b.Outages()
		if len(outages) != 1 || outages[0].String() != "not up yet, tried since 2000-01-01T00:00:00Z: "+refused {
			t.Errorf("outages %v", outages)
		}
		if err := b.load(t, manifest("st", "state.remote"))["st"]; err == nil || !strings.Contains(err.Error(), "the name st is in use") {
			t.Errorf("the name is free: %v", err)
		}
		time.Sleep(time.Hour)
		if n := s.asked.Load(); n > 500 {
			t.Errorf("%d tries in an hour", n)
		}
		s.away.Store(false)
		time.Sleep(15 * time.Second)
		if diff := cmp.Diff([]string{"st"}, b.names()); diff != "" || len(b.Outages()) > 0 {
			t.Error(diff, b.Outages())
		}
		if strings.Count(b.log.String(), refused) != 2 || strings.Count(b.log.String(), "info component st (state.remote/v1) is up after 1h") != 1 {
			t.Errorf("log\n%s", b.log)
		}
		// A server that answers, but not as one likes, is not asked for ever.
		s.away.Store(true)
		b.load(t, manifest("no", "state.remote", ignore))
		s.away.Store(false)
		s.refuses.Store(true)
		time.Sleep(time.Minute)
		if !strings.Contains(b.log.String(), "component no (state.remote/v1) can be reached, but cannot be used: WRONGPASS; it is not tried again") {
			t.Errorf("log\n%s", b.log)
		}
		if b.Outages()[0].Cause != "WRONGPASS" {
			t.Errorf("outages %v", b.Outages())
		}
	})
}

// TestServerGoesAndComes: one line when it goes, one when it is back.
func TestServerGoesAndComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := remotely(t)
		defer b.stop()
		if errs := b.load(t, manifest("st", "state.remote")); len(errs) > 0 {
			t.Fatal(errs)
		}
		time.Sleep(time.Hour)
		if n := s.asked.Load(); n > 60*12+1 {
			t.Errorf("asked %d times in an hour", n)
		}
		said := len(b.log.String())
		for range 2 {
			s.away.Store(true)
			time.Sleep(2 * time.Minute)
			if o := b.Outages(); len(o) != 1 || o[0].Never || !strings.HasSuffix(o[0].String(), refused) || !strings.HasPrefix(o[0].String(), "unavailable since ") {
				t.Errorf("outages %v", o)
			}
			s.away.Store(false)
			time.Sleep(10 * time.Second)
			if o := b.Outages(); len(o) > 0 {
				t.Errorf("outages %v", o)
			}
		}
		log := b.log.String()[said:]
		if got := strings.Count(log, "\n"); got != 4 {
			t.Errorf("%d lines\n%s", got, log)
		}
		if !strings.HasPrefix(log, "warning component st (state.remote/v1) does not answer: "+refused+"; calls to it fail until it is back\n"+
			"info component st (state.remote/v1) is back after ") {
			t.Errorf("log\n%s", log)
		}
		// A single question without an answer is no outage.
		s.away.Store(true)
		for asked := s.asked.Load(); s.asked.Load() == asked; time.Sleep(time.Millisecond) {
		}
		s.away.Store(false)
		time.Sleep(time.Minute)
		if len(b.log.String()) > said+len(log) {
			t.Errorf("log\n%s", b.log)
		}
	})
}

// TestUpdate: a component is made anew before the old one goes; a bad change leaves the old one.
func TestUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := remotely(t)
		defer b.stop()
		update := func(text string) error { return b.Update(t.Context(), read(t, text)[0]) }
		if err := update(versioned("st", "1")); err != nil {
			t.Fatal(err)
		}
		if err := update(versioned("st", "2")); err != nil {
			t.Fatal(err)
		}
		for what, text := range map[string]string{
			"wrong password":     versioned("st", "3", property("password", "wrong")),
			"unknown type":       manifest("st", "state.nosuch"),
			"secret store":       versioned("st", "3", secretRef("password", "db", "password"), auth("nowhere")),
			"second actor store": versioned("ac", "3", property("actorStateStore", "true")) + "---\n",
		} {
			if what == "second actor store" {
				if err := update(versioned("st", "2", property("actorStateStore", "true"))); err != nil {
					t.Fatal(err)
				}
			}
			if err := update(text); err == nil || !strings.Contains(err.Error(), "defined in r.yaml") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if diff := cmp.Diff([]string{"st"}, b.names()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"1", "2"}, s.closed); diff != "" {
			t.Errorf("closed: %s", diff)
		}
		// One whose server is away is refused at once where there is an old one, and tried again where there is none.
		s.away.Store(true)
		began := time.Now()
		if err := update(versioned("st", "4")); err == nil || time.Since(began) > 0 {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if err := update(versioned("new", "1")); err == nil {
			t.Error("no error")
		}
		s.away.Store(false)
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{"st", "new"}, b.names()); diff != "" {
			t.Error(diff)
		}
		for _, name := range []string{"st", "new", "st"} {
			if err := b.Remove(t.Context(), name); err != nil {
				t.Error(err)
			}
		}
		if len(b.names()) > 0 || len(b.state.Stores()) > 0 {
			t.Error(b.names(), b.state.Stores())
		}
		if diff := cmp.Diff([]string{"1", "2", "2", "1"}, s.closed); diff != "" {
			t.Errorf("closed: %s", diff)
		}
	})
}

// TestSecretStoreChanges: components whose secrets it holds are made anew with them (dapr#9553).
func TestSecretStoreChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := remotely(t)
		defer b.stop()
		update := func(text string) {
			t.Helper()
			if err := b.Update(t.Context(), read(t, text)[0]); err != nil {
				t.Error(err)
			}
		}
		safe := func(version string) string {
			return manifest("sec", "secretstores.plain", metadata, property("version", version))
		}
		update(safe("1"))
		update(manifest("st", "state.remote", metadata, secretRef("version", "db", "version"), auth("sec")))
		update(versioned("other", "other"))
		update(safe("2"))
		update(safe("3"))
		if diff := cmp.Diff([]string{"1", "2"}, s.closed); diff != "" {
			t.Errorf("closed: %s", diff)
		}
		if diff := cmp.Diff([]string{"sec", "st", "other"}, b.names()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestRemovedWhileAway: what is tried again in the background ends with its manifest.
func TestRemovedWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := remotely(t)
		defer b.stop()
		s.away.Store(true)
		b.load(t, manifest("st", "state.remote", ignore))
		if err := b.Remove(t.Context(), "st"); err != nil || len(b.Outages()) > 0 {
			t.Error(err, b.Outages())
		}
		asked := s.asked.Load()
		s.away.Store(false)
		time.Sleep(time.Hour)
		if s.asked.Load() != asked || len(b.names()) > 0 {
			t.Error("it is made all the same")
		}
	})
}
