package placement

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are Dapr's.
type metrics struct {
	registry        *prometheus.Registry
	runtimes, hosts *prometheus.GaugeVec
	leader, raft    prometheus.Gauge
}

func newMetrics() *metrics {
	const prefix = "dapr_placement_"
	namespaced := []string{"host_namespace"}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		runtimes: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + "runtimes_total", Help: "Sidecars that have a stream."}, namespaced),
		hosts:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + "actor_runtimes_total", Help: "Sidecars that host actors."}, namespaced),
		leader:   prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "leader_status", Help: "1 when this server leads."}),
		raft:     prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "raft_leader_status", Help: "1 when this server leads in Raft."}),
	}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), m.runtimes, m.hosts, m.leader, m.raft)
	return m
}

// Connected is Observer's. A namespace without sidecars is not shown.
func (m *metrics) Connected(namespace string, streams, hosts int) {
	if streams == 0 {
		m.runtimes.DeleteLabelValues(namespace)
		m.hosts.DeleteLabelValues(namespace)
		return
	}
	m.runtimes.WithLabelValues(namespace).Set(float64(streams))
	m.hosts.WithLabelValues(namespace).Set(float64(hosts))
}

func (m *metrics) leads(is bool) {
	status := 0.0
	if is {
		status = 1
	}
	m.leader.Set(status)
	m.raft.Set(status)
}
