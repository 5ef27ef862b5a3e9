package sentry

import (
	"slices"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

// withTokens has an authority of a test make them.
func (a *authority) withTokens(ttl time.Duration) {
	a.tokenTTL = ttl
	a.rotation.tokens = tokenPlan{algorithm: jwa.ES256(), enabled: true}
}

// keyIDs are those in the set.
func (k *tokenKeys) keyIDs() (all []string) {
	for i := range k.set.Len() {
		key, _ := k.set.Key(i)
		id, _ := key.KeyID()
		all = append(all, id)
	}
	return all
}

// TestTokenRotation: through a rotation, be the process started anew or not, a token that is not expired is good under the
// set of the day, and a new one under the set of 20 days ago, which somebody may have kept who checks; the old key leaves.
func TestTokenRotation(t *testing.T) {
	for name, ttl := range map[string]time.Duration{"a day": 24 * time.Hour, "longer than certificates": 8 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			c, m := newClock(began), new(memory)
			a, _ := start(t, m, c)
			a.withTokens(ttl)
			a.mustRefresh(t)
			good := func(token string, set jwk.Set) {
				t.Helper()
				if _, err := jwt.ParseString(token, jwt.WithKeySet(set), jwt.WithClock(jwt.ClockFunc(c.now))); err != nil {
					t.Fatalf("on %s: %v", c.now(), err)
				}
			}
			var live, sets []dated
			ids, sizes := map[string]bool{}, map[int]bool{}
			for step := 0; c.now().Before(began.Add(380 * 24 * time.Hour)); step++ {
				c.forward(17 * time.Hour)
				if step%7 == 0 {
					a, _ = start(t, m, c)
					a.withTokens(ttl)
				}
				a.mustRefresh(t)
				held := a.held.Load().tokens
				made, err := a.signTokens(named(t, "app1"), nil)
				must(t, err)
				live = since(append(live, dated{c.now(), made.all, nil}), c.now().Add(-ttl))
				sets = since(append(sets, dated{c.now(), "", held.set}), c.now().Add(-20*24*time.Hour))
				for _, token := range live {
					good(token.text, held.set)
				}
				good(made.all, sets[0].set)
				for _, id := range held.keyIDs() {
					ids[id] = true
				}
				sizes[held.set.Len()] = true
			}
			if len(ids) != 2 || !sizes[1] || !sizes[2] || a.held.Load().tokens.set.Len() != 1 {
				t.Errorf("%d keys, sets of sizes %v, at the end %d; want two keys in turn", len(ids), sizes, a.held.Load().tokens.set.Len())
			}
		})
	}
}

// dated is a token, or a set, of a time.
type dated struct {
	at   time.Time
	text string
	set  jwk.Set
}

// since drops what is older.
func since(all []dated, at time.Time) []dated {
	return slices.DeleteFunc(all, func(d dated) bool { return !d.at.After(at) })
}

// TestNamedKeyStays: a key with a name of its own is not replaced, since two would have one name.
func TestNamedKeyStays(t *testing.T) {
	c, m := newClock(began), new(memory)
	a, _ := start(t, m, c)
	a.withTokens(24 * time.Hour)
	a.rotation.tokens.keyID = "mine"
	a.mustRefresh(t)
	before := m.held.tokenKey
	for range 400 {
		c.forward(24 * time.Hour)
		a.mustRefresh(t)
	}
	if ids := a.held.Load().tokens.keyIDs(); m.held.tokenKey != before || m.held.nextTokenKey != "" || len(ids) != 1 || ids[0] != "mine" {
		t.Errorf("the key was replaced: %q", ids)
	}
}
