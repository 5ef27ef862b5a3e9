package sentry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are what the authority counts: Dapr's names, and three of its own.
type metrics struct {
	registry *prometheus.Registry

	received, succeeded, issuerChanged prometheus.Counter
	failed, serverFailed               *prometheus.CounterVec
	issuerExpiry, rootExpiry           prometheus.Gauge
	expiring                           *prometheus.GaugeVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry:      prometheus.NewRegistry(),
		received:      counter("cert_sign_request_received_total", "Requests for certificates."),
		succeeded:     counter("cert_sign_success_total", "Certificates that were signed."),
		failed:        counters("cert_sign_failure_total", "Requests for certificates that failed."),
		serverFailed:  counters("servercert_issue_failed_total", "Certificates for the server itself that could not be made."),
		issuerChanged: counter("issuercert_changed_total", "Times that another trust bundle was taken over."),
		issuerExpiry:  gauge("issuercert_expiry_timestamp", "When the issuer certificate expires, in seconds since 1970."),
		rootExpiry:    gauge("rootcert_expiry_timestamp", "When the root certificate of the issuer expires, in seconds since 1970."),
		expiring: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + "cert_expiring",
			Help: "1 when the certificate expires within 30 days."}, []string{"certificate"}),
	}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.received, m.succeeded, m.failed, m.serverFailed, m.issuerChanged, m.issuerExpiry, m.rootExpiry, m.expiring)
	return m
}

const prefix = "dapr_sentry_"

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + name, Help: help})
}

func counters(name, help string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, []string{"reason"})
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + name, Help: help})
}

// expiry shows when an issuer and its root end, and which of the two does so before soon.
func (m *metrics) expiry(i *issuer, soon time.Time) {
	for _, c := range []struct {
		name  string
		end   time.Time
		shown prometheus.Gauge
	}{{"issuer", i.chain[0].NotAfter, m.issuerExpiry}, {"root", i.root.NotAfter, m.rootExpiry}} {
		c.shown.Set(float64(c.end.Unix()))
		expiring := 0.0
		if !c.end.After(soon) {
			expiring = 1
		}
		m.expiring.WithLabelValues(c.name).Set(expiring)
	}
}
