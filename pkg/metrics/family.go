package metrics

import (
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
)

// family is a metric with labels: rules rewrite them, and there is a bound after that. M is the handle of one label set.
type family[M any] struct {
	registry *Registry
	name     string
	// bind makes the handle of a label set, folded one that counts, beside its own sample, that it was folded.
	bind   func(values ...string) M
	folded func(of M, folds prometheus.Counter) M
	// rewrites are those of the labels, by position; nil without rules for any family.
	rewrites []rewrites
	// outside tells which labels have values that come from outside.
	outside []bool

	mu sync.RWMutex
	// known are the label sets that the rules have made: values with 0xff between them, a byte that no text has.
	known map[string]M
}

type (
	counterFamily   = family[prometheus.Counter]
	histogramFamily = family[prometheus.Observer]
	gaugeFamily     = family[prometheus.Gauge]
)

func newFamily[M any](r *Registry, name string, labels []string, bind func(...string) M, folded func(M, prometheus.Counter) M) *family[M] {
	f := &family[M]{registry: r, name: name, bind: bind, folded: folded, rewrites: r.settings.rewrites(name, labels),
		outside: make([]bool, len(labels)), known: map[string]M{}}
	for i, label := range labels {
		switch label {
		case "path", "topic", "target", "grpc_server_method", "grpc_client_method", "src_app_id", "dst_app_id":
			f.outside[i] = true
		}
	}
	return f
}

// WithLabelValues gives the handle of one label set; the values are in the order of the labels, app_id first. They may
// be borrowed where there are rules.
func (f *family[M]) WithLabelValues(values ...string) M {
	if f.rewrites == nil {
		return f.admit(slices.Clone(values))
	}
	return f.ruled(values)
}

// admit makes the handle of values as they are shown.
func (f *family[M]) admit(values []string) M {
	handle := f.bind(values...)
	if slices.Contains(values, other) {
		return f.folded(handle, f.registry.folds.WithLabelValues(f.registry.appID, f.name))
	}
	return handle
}

// How much of a label set that has no room is "_other".
const (
	nothing = iota
	fromOutside
	everything
)

// ruled gives the handle of what the rules make of values, within the bounds. It allocates nothing for what is known
// but what a rule makes of a value, since past the bounds of the transports it is on the way of every request.
func (f *family[M]) ruled(values []string) M {
	var space [512]byte
	for _, level := range [...]struct{ hidden, limit int }{{nothing, maxSeries}, {fromOutside, maxSeries + maxFolded}} {
		if level.hidden == fromOutside && !slices.Contains(f.outside, true) {
			continue
		}
		key := f.appendKey(space[:0], values, level.hidden)
		if handle, ok := f.lookUp(key, level.limit); ok {
			return handle
		}
	}
	handle, _ := f.lookUp(f.appendKey(space[:0], values, everything), maxSeries+maxFolded+1)
	return handle
}

// lookUp gives the handle of a label set that is known, or for which there is room among limit.
func (f *family[M]) lookUp(key []byte, limit int) (M, bool) {
	f.mu.RLock()
	handle, ok := f.known[string(key)]
	full := len(f.known) >= limit
	f.mu.RUnlock()
	if ok || full {
		return handle, ok
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if handle, ok = f.known[string(key)]; ok || len(f.known) >= limit { // others came first
		return handle, ok
	}
	handle = f.admit(strings.Split(string(key), "\xff"))
	f.known[string(key)] = handle
	return handle, true
}

// appendKey writes values as they are shown.
func (f *family[M]) appendKey(key []byte, values []string, hidden int) []byte {
	for i, value := range values {
		if i > 0 {
			key = append(key, 0xff)
		}
		if hidden == fromOutside && f.outside[i] || hidden == everything && (i > 0 || value != f.registry.appID) {
			key = append(key, other...)
			continue
		}
		before := len(key)
		if key = f.rewrites[i].append(key, value); len(key)-before > maxValue || !utf8.Valid(key[before:]) {
			key = append(key[:before], text(string(key[before:]))...)
		}
	}
	return key
}

// foldedCounter and its sisters count, beside their own sample, that it was folded.
type foldedCounter struct {
	prometheus.Counter
	folds prometheus.Counter
}

// Inc adds 1.
func (c foldedCounter) Inc() { c.Counter.Inc(); c.folds.Inc() }

// Add adds n, which is one sample.
func (c foldedCounter) Add(n float64) { c.Counter.Add(n); c.folds.Inc() }

type foldedHistogram struct {
	prometheus.Observer
	folds prometheus.Counter
}

// Observe takes a sample.
func (h foldedHistogram) Observe(value float64) { h.Observer.Observe(value); h.folds.Inc() }

type foldedGauge struct {
	prometheus.Gauge
	folds prometheus.Counter
}

// Set takes a sample.
func (g foldedGauge) Set(value float64) { g.Gauge.Set(value); g.folds.Inc() }
