package metrics

import (
	"strings"
	"sync"
	"sync/atomic"
)

const (
	// maxSeries bounds the label sets of one family. Users of Dapr met sidecars of 600 MiB that were all
	// metrics; 1000 sets with three histograms each stay below 10 MiB.
	maxSeries = 1000
	// maxFolded bounds the label sets that come after them, in which only what comes from outside (a path, a
	// topic) is "_other": rates by status stay right.
	maxFolded = 100
	// maxValue bounds a label value, in bytes: every scrape shows each some forty times. Longer ones are "_other".
	maxValue = 256
)

// bounded gives the handle for a set of labels, made once. Past maxSeries new sets share handles: those of
// folded, then that of overflow. Reading is free of locks and allocations, since it is on the way of every request.
type bounded[K comparable, H any] struct {
	bind     func(K) H
	overflow K
	// own makes a lasting copy of a key whose strings are borrowed; nil where none are.
	own func(K) K
	// folded is a key without what comes from outside; nil where nothing else would be left.
	folded func(K) K
	// ruled says that rules may make few sets of many: then keys past the bound are bound each time, which copies them.
	ruled bool

	mu    sync.Mutex
	known atomic.Pointer[map[K]H]
}

func newBounded[K comparable, H any](overflow K, bind func(K) H) *bounded[K, H] {
	b := &bounded[K, H]{bind: bind, overflow: overflow}
	b.known.Store(&map[K]H{})
	return b
}

// open says how keys are treated whose values come from outside.
func (b *bounded[K, H]) open(r *Registry, own, folded func(K) K) *bounded[K, H] {
	b.own, b.folded, b.ruled = own, folded, len(r.settings.Rules) > 0
	return b
}

func (b *bounded[K, H]) handle(key K) H {
	known := *b.known.Load()
	if h, ok := known[key]; ok {
		return h
	}
	if len(known) < maxSeries {
		return b.add(key, maxSeries)
	}
	if b.ruled {
		return b.bind(key)
	}
	if b.folded != nil {
		key = b.folded(key)
		if h, ok := known[key]; ok {
			return h
		}
		if len(known) < maxSeries+maxFolded {
			return b.add(key, maxSeries+maxFolded)
		}
	}
	if h, ok := known[b.overflow]; ok {
		return h
	}
	return b.add(b.overflow, maxSeries+maxFolded+1)
}

// add makes the handle of a key as long as fewer than limit are known.
func (b *bounded[K, H]) add(key K, limit int) H {
	b.mu.Lock()
	known := *b.known.Load()
	if h, ok := known[key]; ok {
		b.mu.Unlock()
		return h
	}
	if len(known) >= limit { // others came first
		b.mu.Unlock()
		return b.handle(key)
	}
	defer b.mu.Unlock()
	key = b.lasting(key)
	grown := make(map[K]H, len(known)+1)
	for k, h := range known {
		grown[k] = h
	}
	h := b.bind(key)
	grown[key] = h
	b.known.Store(&grown)
	return h
}

func (b *bounded[K, H]) lasting(key K) K {
	if b.own == nil {
		return key
	}
	return b.own(key)
}

// text makes a label value of what may come from a caller: one that is no UTF-8 makes the client library panic.
func text(s string) string { return strings.ToValidUTF8(short(s), "\uFFFD") }

// short is s, or "_other" if it is too long for a label.
func short(s string) string {
	if len(s) > maxValue {
		return other
	}
	return s
}
