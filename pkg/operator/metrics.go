package operator

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are what the operator counts: Dapr's names for services, and some of its own.
type metrics struct {
	registry *prometheus.Registry

	serviceCreated, serviceUpdated, serviceDeleted *prometheus.CounterVec

	followers         prometheus.Gauge
	sent              *prometheus.CounterVec
	cutOff, lockedOut prometheus.Counter
	restarted         prometheus.Counter
	leads             prometheus.Gauge
}

const metricPrefix = "dapr_operator_"

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: metricPrefix + name, Help: help})
	}
	counters := func(label, name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricPrefix + name, Help: help}, []string{label})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: metricPrefix + name, Help: help})
	}
	m := &metrics{
		registry:       prometheus.NewRegistry(),
		serviceCreated: counters("app_id", "service_created_total", "Services of applications that were created."),
		serviceUpdated: counters("app_id", "service_updated_total", "Services of applications that were changed."),
		serviceDeleted: counters("app_id", "service_deleted_total", "Services of applications that were deleted."),
		followers:      gauge("streams", "Streams by which sidecars are told of changes."),
		sent:           counters("kind", "events_sent_total", "Changes that sidecars were told of."),
		cutOff:         counter("streams_cut_total", "Streams that were ended since the sidecar did not read."),
		lockedOut:      counter("secrets_failed_total", "Resources that were not given since a secret of theirs could not be had."),
		restarted:      counter("watchdog_pods_restarted_total", "Pods that were deleted since they lacked their sidecar."),
		leads:          gauge("leader", "1 for the replica that leads."),
	}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.serviceCreated, m.serviceUpdated, m.serviceDeleted, m.followers, m.sent, m.cutOff, m.lockedOut, m.restarted, m.leads)
	return m
}
