// Package statetest is the conformance suite of state stores: every store runs it against the real thing.
// It knows the contract of package state only.
package statetest

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/daprd/daprd/pkg/state"
)

// Options say where a store keeps the behaviour that Dapr's users know of it, other than the rest.
type Options struct {
	// NoRollback: the other operations of a transaction are applied when one is refused (Redis).
	NoRollback bool
	// ETagOnAbsent: an entity tag on an absent key is accepted, by set and by delete (Redis).
	ETagOnAbsent bool
	// NumericETags: a tag that is no number is invalid rather than a mismatch (Redis).
	NumericETags bool
	// FirstWriteIsPlain: a first write without a tag on a key that exists fails with an error that is no
	// *state.ETagError (Redis).
	FirstWriteIsPlain bool
	// FirstWriteSticks: a key once written by first-write refuses writes without a tag until it is deleted
	// (Redis).
	FirstWriteSticks bool
	// KeepsTTL: a write without a time to live leaves the one that runs (Redis).
	KeepsTTL bool
	// NoExpireTime: the store does not tell when a key ends (Redis).
	NoExpireTime bool
}

// timeout bounds every single case.
const timeout = 30 * time.Second

// Run runs the suite. open gives a store that is ready; it may be the same server each time, since no two
// cases share a key. A store that can be closed is closed by whoever opens it.
func Run(t *testing.T, open func(t *testing.T) state.Store, options Options) {
	cases := []struct {
		name string
		run  func(*fixture)
	}{
		{"values are kept byte for byte", (*fixture).values},
		{"the value belongs to the caller", (*fixture).ownership},
		{"absent keys", (*fixture).absent},
		{"odd keys", (*fixture).oddKeys},
		{"entity tags change", (*fixture).tagsChange},
		{"entity tags guard writes", (*fixture).tagsGuardSet},
		{"entity tags guard deletes", (*fixture).tagsGuardDelete},
		{"entity tags on absent keys", (*fixture).tagsOnAbsent},
		{"malformed entity tags", (*fixture).malformedTags},
		{"first write", (*fixture).firstWrite},
		{"last write", (*fixture).lastWrite},
		{"unknown rules", (*fixture).unknownRules},
		{"delete", (*fixture).delete},
		{"one of many writers wins", (*fixture).race},
		{"one of many creators wins", (*fixture).createRace},
		{"counters lose nothing", (*fixture).counters},
		{"deleters and writers", (*fixture).deleteRace},
		{"time to live", (*fixture).timeToLive},
		{"time to live of a write after another", (*fixture).timeToLiveAgain},
		{"time to live that is no number", (*fixture).timeToLiveInvalid},
		{"time to live frees the key", (*fixture).timeToLiveFrees},
		{"bulk get", (*fixture).bulkGet},
		{"transaction", (*fixture).transaction},
		{"transaction with an entity tag", (*fixture).transactionTags},
		{"refused transaction", (*fixture).transactionRefused},
		{"transactions at once", (*fixture).transactionRace},
		{"cancelled context", (*fixture).cancelled},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			c.run(&fixture{T: t, ctx: ctx, store: open(t), options: options, unique: rand.Text()})
		})
	}
}

// fixture is one case: a store, and keys that nobody else uses.
type fixture struct {
	*testing.T
	ctx     context.Context
	store   state.Store
	options Options
	unique  string
}

func (f *fixture) key(name string) string { return "statetest||" + f.unique + "-" + name }

// put writes without conditions and fails the test when that does not work.
func (f *fixture) put(key, value string) {
	f.Helper()
	f.set(&state.SetRequest{Key: key, Value: []byte(value)})
}

func (f *fixture) set(req *state.SetRequest) {
	f.Helper()
	if err := f.store.Set(f.ctx, req); err != nil {
		f.Fatalf("set %s: %v", req.Key, err)
	}
}

func (f *fixture) get(key string) state.Item {
	f.Helper()
	item, err := f.store.Get(f.ctx, &state.GetRequest{Key: key})
	if err != nil {
		f.Fatalf("get %s: %v", key, err)
	}
	return *item
}

// wantValue fails unless key holds value.
func (f *fixture) wantValue(key, value string) {
	f.Helper()
	item := f.get(key)
	if !item.Found {
		f.Fatalf("get %s: absent, want %q", key, value)
	}
	if string(item.Value) != value {
		f.Fatalf("get %s: %q, want %q", key, item.Value, value)
	}
}

// wantAbsent fails unless key is absent.
func (f *fixture) wantAbsent(key string) {
	f.Helper()
	if item := f.get(key); item.Found || len(item.Value) != 0 || item.ETag != "" {
		f.Fatalf("get %s: %q with tag %q, want nothing", key, item.Value, item.ETag)
	}
}

// wantTagError fails unless err is a refused tag of that kind.
func (f *fixture) wantTagError(err error, kind state.ETagKind) {
	f.Helper()
	tag, ok := state.IsETag(err)
	if !ok {
		f.Fatalf("error %v, want a *state.ETagError", err)
	}
	if tag.Kind != kind {
		f.Fatalf("error %v has kind %v, want %v", err, tag.Kind, kind)
	}
}

// eventually polls, since a store gives no signal when a key expires.
func (f *fixture) eventually(what string, done func() bool) {
	f.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-f.ctx.Done():
			f.Fatalf("%s: not within %v", what, timeout)
		case <-ticker.C:
		}
	}
}
