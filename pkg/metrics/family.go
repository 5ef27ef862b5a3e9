package metrics

import (
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// family is what all kinds of families have: rules that rewrite labels, and the bound after them.
type family struct {
	registry *Registry
	name     string
	// rewrites are those of the labels, by position; nil without rules for any family.
	rewrites []rewrites
	// outside are the positions of the labels whose values come from outside.
	outside []int

	mu sync.Mutex
	// seen are the label sets that the rules have made.
	seen map[string]struct{}
}

func (r *Registry) family(name string, labels []string) *family {
	f := &family{registry: r, name: name, rewrites: r.settings.rewrites(name, labels), seen: map[string]struct{}{}}
	for i, label := range labels {
		switch label {
		case "path", "topic", "target", "grpc_server_method", "grpc_client_method", "src_app_id", "dst_app_id":
			f.outside = append(f.outside, i)
		}
	}
	return f
}

// admit gives the label values as they are shown, and the counter of what is folded if one of them is "_other".
func (f *family) admit(values []string) ([]string, prometheus.Counter) {
	if f.rewrites != nil {
		values = f.rewritten(slices.Clone(values))
	}
	if slices.Contains(values, other) {
		return values, f.registry.folds.WithLabelValues(f.registry.appID, f.name)
	}
	return values, nil
}

// rewritten applies the rules to values, and the bounds to what they make of them.
func (f *family) rewritten(values []string) []string {
	for i, r := range f.rewrites {
		values[i] = text(r.apply(values[i]))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fits(values, maxSeries) {
		return values
	}
	for _, i := range f.outside {
		values[i] = other
	}
	if len(f.outside) > 0 && f.fits(values, maxSeries+maxFolded) {
		return values
	}
	for i := range values {
		if i > 0 || values[i] != f.registry.appID {
			values[i] = other
		}
	}
	return values
}

// fits says whether there is such a label set, or room for it.
func (f *family) fits(values []string, limit int) bool {
	key := strings.Join(values, "\xff") // no label value holds this byte
	if _, ok := f.seen[key]; ok {
		return true
	}
	if len(f.seen) >= limit {
		return false
	}
	f.seen[key] = struct{}{}
	return true
}

type counterFamily struct {
	*family
	vec *prometheus.CounterVec
}

// WithLabelValues gives the counter of one label set; the values are in the order of the labels, app_id first.
func (v *counterFamily) WithLabelValues(values ...string) prometheus.Counter {
	values, folds := v.admit(values)
	counter := v.vec.WithLabelValues(values...)
	if folds != nil {
		return foldedCounter{counter, folds}
	}
	return counter
}

type histogramFamily struct {
	*family
	vec *prometheus.HistogramVec
}

// WithLabelValues gives the histogram of one label set; the values are in the order of the labels, app_id first.
func (v *histogramFamily) WithLabelValues(values ...string) prometheus.Observer {
	values, folds := v.admit(values)
	histogram := v.vec.WithLabelValues(values...)
	if folds != nil {
		return foldedHistogram{histogram, folds}
	}
	return histogram
}

type gaugeFamily struct {
	*family
	vec *prometheus.GaugeVec
}

// WithLabelValues gives the gauge of one label set; the values are in the order of the labels, app_id first.
func (v *gaugeFamily) WithLabelValues(values ...string) prometheus.Gauge {
	values, folds := v.admit(values)
	gauge := v.vec.WithLabelValues(values...)
	if folds != nil {
		return foldedGauge{gauge, folds}
	}
	return gauge
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
