package injector

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// mostAppIDs bounds the app ids that are told apart; further ones count as otherAppID.
const (
	mostAppIDs = 1000
	otherAppID = "_other"
)

// metrics are what the injector counts, under Dapr's names.
type metrics struct {
	registry *prometheus.Registry
	requests prometheus.Counter

	successes, failures *prometheus.CounterVec

	mu   sync.Mutex
	seen map[string]struct{}
}

func newMetrics() *metrics {
	const prefix = "dapr_injector_sidecar_injection_"
	m := &metrics{
		registry:  prometheus.NewRegistry(),
		requests:  prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + "requests_total", Help: "Reviews that were asked for."}),
		successes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + "succeeded_total", Help: "Pods that got a sidecar."}, []string{"app_id"}),
		failures:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + "failed_total", Help: "Pods that got none although they were asked about."}, []string{"app_id", "reason"}),
		seen:      map[string]struct{}{},
	}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), m.requests, m.successes, m.failures)
	return m
}

func (m *metrics) succeeded(appID string) { m.successes.WithLabelValues(m.bounded(appID)).Inc() }

func (m *metrics) failed(appID, reason string) {
	m.failures.WithLabelValues(m.bounded(appID), reason).Inc()
}

func (m *metrics) bounded(appID string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.seen[appID]; !known && len(m.seen) >= mostAppIDs {
		return otherAppID
	}
	m.seen[appID] = struct{}{}
	return appID
}
