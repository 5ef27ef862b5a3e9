package sentry

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// memory keeps a bundle in memory.
type memory struct{ held texts }

func (m *memory) load(context.Context) (texts, error)       { return m.held, nil }
func (m *memory) save(_ context.Context, c texts) error     { m.held = c; return nil }
func (m *memory) wait(ctx context.Context, _ time.Duration) { <-ctx.Done() }
func testDomain() spiffeid.TrustDomain                      { return spiffeid.RequireTrustDomainFromString("cluster.local") }
func (t *testClock) now() time.Time                         { return *t.at.Load() }
func (t *testClock) set(at time.Time)                       { t.at.Store(&at) }
func (t *testClock) forward(by time.Duration)               { t.set(t.now().Add(by)) }
func (a *authority) mustRefresh(t testing.TB)               { t.Helper(); must(t, a.refresh(t.Context())) }
func (a *authority) anchorsHeld() int                       { return len(a.held.Load().anchors) }
func newClock(at time.Time) *testClock                      { c := new(testClock); c.set(at); return c }

type testClock struct{ at atomic.Pointer[time.Time] }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func named(t testing.TB, appID string) identity {
	t.Helper()
	id, err := newIdentity(testDomain(), "default", appID)
	must(t, err)
	return id
}

// start is an authority over a store, with Dapr's times.
func start(t testing.TB, s store, c *testClock) (*authority, *logtest.Hook) {
	t.Helper()
	log, hook := logtest.NewNullLogger()
	return &authority{rotation: rotation{named(t, ownAppID), settings{ttl: 24 * time.Hour, skew: 15 * time.Minute}, tokenPlan{}}, store: s, now: c.now, log: log,
		metrics: newMetrics()}, hook
}

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// TestPlan walks along the points in time at which a rotation does something.
func TestPlan(t *testing.T) {
	c, m := newClock(began), new(memory)
	a, _ := start(t, m, c)
	a.mustRefresh(t)
	old := a.held.Load().issuer
	end := old.expires()
	if want := began.Add(365 * 24 * time.Hour); !end.Equal(want) {
		t.Fatalf("the first issuer ends on %s, want %s", end, want)
	}
	takeover := end.Add(-24*time.Hour - 15*time.Minute)
	for _, step := range []struct {
		name    string
		at      time.Time
		anchors int
		next    bool
		old     bool // is the first issuer at work?
	}{
		{"before the window", end.Add(-30*24*time.Hour - time.Second), 1, false, true},
		{"the window begins", end.Add(-30 * 24 * time.Hour), 2, true, true},
		{"before the takeover", takeover.Add(-time.Second), 2, true, true},
		{"the takeover", takeover, 2, false, false},
		{"one TTL and skew after the last certificate", end, 2, false, false},
		{"the old root is over", end.Add(time.Second), 1, false, false},
	} {
		c.set(step.at)
		a.mustRefresh(t)
		held := a.held.Load()
		if len(held.anchors) != step.anchors || (held.next != nil) != step.next || held.issuer.chain[0].Equal(old.chain[0]) != step.old {
			t.Errorf("%s: %d anchors, next issuer %v, the first at work %v", step.name, len(held.anchors), held.next != nil, held.issuer.chain[0].Equal(old.chain[0]))
		}
		if read, err := parse(m.held); err != nil || len(read.anchors) != step.anchors {
			t.Errorf("%s: the store does not hold what is in use: %v", step.name, err)
		}
	}
}

// peer is a sidecar as far as certificates go.
type peer struct {
	id      identity
	key     *ecdsa.PrivateKey
	holds   *signed
	renewal time.Time
	anchors *x509.CertPool
	// restart is when a peer that reads its anchors only at its start does so again; zero for one that follows them.
	restart time.Time
}

const podLife = 25 * 24 * time.Hour

func (p *peer) live(t *testing.T, a *authority, now time.Time) {
	t.Helper()
	if !now.Before(p.renewal) {
		made, err := a.sign(p.id, p.key.Public())
		must(t, err)
		p.holds, p.renewal = made, now.Add(made.leaf.NotAfter.Sub(now)/2)
		if p.restart.IsZero() {
			p.trust(made.trust)
		}
	}
	if !p.restart.IsZero() && !now.Before(p.restart) {
		p.trust(a.held.Load().trust)
		p.restart = now.Add(podLife)
	}
}

func (p *peer) trust(anchors []byte) {
	p.anchors = x509.NewCertPool()
	p.anchors.AppendCertsFromPEM(anchors)
}

func (p *peer) accepts(other *peer, now time.Time) error {
	intermediates := x509.NewCertPool()
	for _, c := range other.holds.chain[1:] {
		intermediates.AddCert(c)
	}
	_, err := other.holds.leaf.Verify(x509.VerifyOptions{Roots: p.anchors, Intermediates: intermediates, CurrentTime: now})
	return err
}

// TestNoDowntime: over two years and more, and through the rotations in them, sidecars accept each other, be
// their clocks early or late by the skew that is allowed. The process starts anew now and then.
func TestNoDowntime(t *testing.T) {
	c, m := newClock(began), new(memory)
	a, _ := start(t, m, c)
	a.mustRefresh(t)
	var peers []*peer
	for i, restart := range []time.Time{{}, {}, began, began.Add(9 * 24 * time.Hour)} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		p := &peer{id: named(t, fmt.Sprintf("app%d", i)), key: key, restart: restart}
		p.trust(a.held.Load().trust)
		peers = append(peers, p)
	}
	issuers := map[string]bool{}
	var takeover time.Time
	for step := 0; c.now().Before(began.Add(790 * 24 * time.Hour)); step++ {
		if step%200 == 199 {
			a, _ = start(t, m, c)
		}
		a.mustRefresh(t)
		if issuer := string(a.held.Load().issuer.chain[0].Raw); !issuers[issuer] {
			issuers[issuer], takeover = true, c.now()
		}
		for i, p := range peers {
			if p.live(t, a, c.now()); step == 0 {
				p.renewal = c.now().Add(time.Duration(i) * 3 * time.Hour) // not all at once
			}
		}
		rotating := a.anchorsHeld() > 1 || c.now().Sub(takeover) < 3*a.ttl
		for i, p := range peers {
			other := peers[(i+1+step%3)%len(peers)]
			if !rotating && i != step%len(peers) {
				continue
			}
			for _, skew := range []time.Duration{-a.skew, a.skew} {
				if err := p.accepts(other, c.now().Add(skew)); err != nil {
					t.Fatalf("at %s (%+v) %s refuses %s: %v", date(c.now()), skew, p.id.id, other.id.id, err)
				}
			}
		}
		if c.forward(3 * time.Hour); !rotating {
			c.forward(6 * time.Hour)
		}
	}
	if len(issuers) != 3 {
		t.Errorf("%d issuers were at work", len(issuers))
	}
}

// TestSignsOnTime: what is due is used even if the store was not looked at since.
func TestSignsOnTime(t *testing.T) {
	c := newClock(began)
	a, _ := start(t, new(memory), c)
	a.mustRefresh(t)
	c.set(a.held.Load().issuer.expires().Add(-10 * 24 * time.Hour))
	a.mustRefresh(t)
	next := a.held.Load().next
	c.set(a.due(next))
	made, err := a.sign(named(t, "app"), next.key.Public())
	must(t, err)
	if !made.chain[1].Equal(next.chain[0]) {
		t.Error("the old issuer has signed after the takeover was due")
	}
}

// TestLate: an authority that was away for long does what is left to do.
func TestLate(t *testing.T) {
	for name, test := range map[string]struct {
		before   time.Duration // of the end
		anchors  int
		replaced bool
	}{
		"hours are left":  {10 * time.Hour, 2, false},
		"it is over":      {-time.Hour, 1, true},
		"it is long over": {-1000 * 24 * time.Hour, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			c, m := newClock(began), new(memory)
			a, _ := start(t, m, c)
			a.mustRefresh(t)
			end := a.held.Load().issuer.expires()
			c.set(end.Add(-test.before))
			again, _ := start(t, m, c)
			again.mustRefresh(t)
			held := again.held.Load()
			if len(held.anchors) != test.anchors || (held.issuer.expires().After(end)) != test.replaced {
				t.Fatalf("%d anchors, the issuer ends on %s", len(held.anchors), date(held.issuer.expires()))
			}
			made, err := again.sign(named(t, "app"), held.issuer.key.Public())
			must(t, err)
			if made.leaf.NotAfter.After(held.issuer.expires()) {
				t.Errorf("the certificate ends on %s, after its issuer", date(made.leaf.NotAfter))
			}
			if held.next != nil {
				if due := again.due(held.next); due.Before(c.now().Add(test.before/2-time.Second)) || due.After(end) {
					t.Errorf("the takeover is on %s", date(due))
				}
			}
		})
	}
}

// TestHalfWritten: whatever was written before a crash can be read, signs, and is trusted by those who trust what was
// before.
func TestHalfWritten(t *testing.T) {
	c, m := newClock(began), new(memory)
	a, _ := start(t, m, c)
	a.mustRefresh(t)
	end := a.held.Load().issuer.expires()
	for _, at := range []time.Time{end.Add(-20 * 24 * time.Hour), end.Add(-time.Hour)} {
		before := m.held
		c.set(at)
		a.mustRefresh(t)
		after := m.held
		for written := range 6 {
			half := before
			n := newNames(&Config{AnchorsFile: "ca.crt", CertificateFile: "issuer.crt", KeyFile: "issuer.key"})
			to, from := n.parts(&half), n.parts(&after)
			for i := range min(written, len(to)) {
				if *from[i].text != "" {
					*to[i].text = *from[i].text
				}
			}
			again, _ := start(t, &memory{half}, c)
			if err := again.refresh(t.Context()); err != nil {
				t.Fatalf("%d of the texts written: %v", written, err)
			}
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM([]byte(after.anchors))
			made, err := again.sign(named(t, "app"), again.held.Load().issuer.key.Public())
			must(t, err)
			if written < 3 && at.Before(end.Add(-24*time.Hour)) {
				continue // the anchors were not written: another root follows
			}
			intermediates := x509.NewCertPool()
			intermediates.AddCert(made.chain[1])
			if _, err := made.leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: c.now()}); err != nil {
				t.Errorf("%d of the texts written: %v", written, err)
			}
		}
	}
}

// brought is a bundle whose root is not the authority's own, with an end.
func brought(t testing.TB, c *testClock, end time.Time) texts {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "Example Root"}, NotBefore: c.now().Add(-time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true}
	root, err := create(template, template, key.Public(), key)
	must(t, err)
	text, err := (&bundle{anchors: []*x509.Certificate{root}, issuer: &issuer{chain: []*x509.Certificate{root}, key: key}}).encode()
	must(t, err)
	return text
}

// TestBrought: a root that was brought is warned of, once a day, and never replaced.
func TestBrought(t *testing.T) {
	c := newClock(began)
	end := began.Add(40 * 24 * time.Hour)
	m := &memory{brought(t, c, end)}
	given := m.held
	a, hook := start(t, m, c)
	for day, warnings := range []int{9: 0, 10: 1} {
		hook.Reset()
		c.set(began.Add(time.Duration(day) * 24 * time.Hour))
		a.mustRefresh(t)
		if got := warned(hook); got != warnings {
			t.Errorf("day %d: %d warnings, want %d", day, got, warnings)
		}
	}
	hook.Reset()
	for range 48 {
		c.forward(time.Hour)
		a.mustRefresh(t)
	}
	if got := warned(hook); got != 2 {
		t.Errorf("%d warnings in two days", got)
	}
	if last := hook.LastEntry().Message; !strings.Contains(last, "put a new root and issuer in place before") {
		t.Errorf("warning %q", last)
	}
	for _, certificate := range []string{"root", "issuer"} {
		if got := testutil.ToFloat64(a.metrics.expiring.WithLabelValues(certificate)); got != 1 {
			t.Errorf("cert_expiring of the %s is %v", certificate, got)
		}
	}
	if got := testutil.ToFloat64(a.metrics.rootExpiry); int64(got) != end.Unix() {
		t.Errorf("rootcert_expiry_timestamp is %v", got)
	}
	if m.held != given {
		t.Error("the bundle was changed")
	}
	c.set(end.Add(time.Second))
	if err := a.refresh(t.Context()); !errors.Is(err, errExpired) {
		t.Errorf("error %v", err)
	}
	if _, err := a.sign(named(t, "app"), a.held.Load().issuer.key.Public()); !errors.Is(err, errExpired) {
		t.Errorf("an expired issuer signs: %v", err)
	}
}

func warned(hook *logtest.Hook) (n int) {
	for _, e := range hook.AllEntries() {
		if e.Level == logrus.WarnLevel && strings.HasPrefix(e.Message, "The root certificate expires on") {
			n++
		}
	}
	return n
}

// TestOwnWarned: where the authority renews itself, the warning says when, and that others must be restarted.
func TestOwnWarned(t *testing.T) {
	c := newClock(began)
	a, hook := start(t, new(memory), c)
	a.mustRefresh(t)
	if got := testutil.ToFloat64(a.metrics.expiring.WithLabelValues("root")); got != 0 {
		t.Errorf("cert_expiring of a new root is %v", got)
	}
	c.set(a.held.Load().issuer.expires().Add(-30 * 24 * time.Hour))
	a.mustRefresh(t)
	if warned(hook) != 1 || !strings.Contains(hook.LastEntry().Message, "takes over on 2027-02-28T11:45:00Z: restart sidecars") {
		t.Errorf("warnings: %d, the last %q", warned(hook), hook.LastEntry().Message)
	}
	if got := testutil.ToFloat64(a.metrics.expiring.WithLabelValues("root")); got != 1 {
		t.Errorf("cert_expiring is %v", got)
	}
	if bytes.Count(a.held.Load().trust, []byte("BEGIN CERTIFICATE")) != 2 {
		t.Error("clients are not told of both roots")
	}
}

// TestLongTTL: where workload certificates live long, root and issuer live longer, and the rotation begins earlier.
func TestLongTTL(t *testing.T) {
	for _, ttl := range []time.Duration{time.Minute, 60 * 24 * time.Hour, 10 * 365 * 24 * time.Hour} {
		c := newClock(began)
		a, _ := start(t, new(memory), c)
		a.ttl = ttl
		a.mustRefresh(t)
		a.mustRefresh(t)
		held := a.held.Load()
		if held.next != nil {
			t.Errorf("TTL %s: a new authority begins to rotate", ttl)
		}
		made, err := a.sign(named(t, "app"), held.issuer.key.Public())
		must(t, err)
		if got := made.leaf.NotAfter.Sub(began); got != ttl {
			t.Errorf("TTL %s: the certificate is valid for %s", ttl, got)
		}
		c.set(held.issuer.expires().Add(-2 * a.overlap()))
		a.mustRefresh(t)
		if next := a.held.Load().next; next == nil || a.due(next).Sub(c.now()) < ttl/2 {
			t.Errorf("TTL %s: the new root is not announced in time", ttl)
		}
	}
}
