package statetest

import (
	"time"

	"github.com/daprd/daprd/pkg/state"
)

func (f *fixture) putFor(key, value, seconds string) {
	f.Helper()
	f.set(&state.SetRequest{Key: key, Value: []byte(value), Metadata: map[string]string{"ttlInSeconds": seconds}})
}

func (f *fixture) timeToLive() {
	short, long := f.key("short"), f.key("long")
	f.putFor(long, "stays", "3600")
	// One second would be over at once in a store that counts whole seconds.
	f.putFor(short, "goes", "2")
	f.wantValue(short, "goes")
	f.wantExpireTime(long, time.Now().Add(time.Hour))
	f.eventually("expiry", func() bool { return !f.get(short).Found })
	f.wantAbsent(short)
	f.wantValue(long, "stays")
}

func (f *fixture) wantExpireTime(key string, want time.Time) {
	f.Helper()
	text := f.get(key).Metadata["ttlExpireTime"]
	if f.options.NoExpireTime {
		if text != "" {
			f.Errorf("ttlExpireTime %q of a store that does not tell", text)
		}
		return
	}
	got, err := time.Parse(time.RFC3339, text)
	if err != nil || got.Location() != time.UTC {
		f.Fatalf("ttlExpireTime %q: want RFC 3339 in UTC: %v", text, err)
	}
	if off := got.Sub(want).Abs(); off > time.Minute {
		f.Errorf("ttlExpireTime %v is %v off", got, off)
	}
}

func (f *fixture) timeToLiveAgain() {
	cases := []struct {
		name    string
		again   func(key string)
		expires bool
	}{
		{"none", func(key string) { f.put(key, "v") }, f.options.KeepsTTL},
		{"minus one", func(key string) { f.putFor(key, "v", "-1") }, false},
		{"zero", func(key string) { f.putFor(key, "v", "0") }, false},
		{"longer", func(key string) { f.putFor(key, "v", "3600") }, false},
		{"control", func(string) {}, true},
	}
	for _, c := range cases {
		f.putFor(f.key(c.name), "v", "2")
		c.again(f.key(c.name))
	}
	// The control was written last: once it is gone, the time of all the others is over.
	f.eventually("expiry", func() bool { return !f.get(f.key("control")).Found })
	for _, c := range cases {
		if gone := !f.get(f.key(c.name)).Found; gone != c.expires {
			f.Errorf("%s over 2 s: gone %v, want %v", c.name, gone, c.expires)
		}
	}
}

func (f *fixture) timeToLiveInvalid() {
	key := f.key("k")
	for _, text := range []string{"abc", "1.5", "60s"} {
		err := f.store.Set(f.ctx, &state.SetRequest{Key: key, Value: []byte("v"), Metadata: map[string]string{"ttlInSeconds": text}})
		if err == nil {
			f.Errorf("ttlInSeconds %q is accepted", text)
		}
		if _, refused := state.IsETag(err); refused {
			f.Errorf("ttlInSeconds %q: %v, want an error that is no refused tag", text, err)
		}
	}
	f.wantAbsent(key)
}

func (f *fixture) timeToLiveFrees() {
	key := f.key("k")
	f.putFor(key, "old", "1")
	f.eventually("expiry", func() bool { return !f.get(key).Found })
	f.set(&state.SetRequest{Key: key, Value: []byte("new"), Concurrency: state.FirstWrite})
	f.wantValue(key, "new")
}
