package metrics

import "github.com/prometheus/client_golang/prometheus"

// identityFamilies count the certificates that sentry gives.
type identityFamilies struct {
	obtained, renewed         prometheus.Counter
	obtainFailed, renewFailed *counterFamily
}

func newIdentityFamilies(r *Registry) *identityFamilies {
	return &identityFamilies{
		obtained:     r.counter("dapr_runtime_mtls_init_total", "Sidecars that got their first certificate.").WithLabelValues(r.appID),
		obtainFailed: r.counter("dapr_runtime_mtls_init_fail_total", "Sidecars that got no first certificate.", "reason"),
		renewed: r.counter("dapr_runtime_mtls_workload_cert_rotated_total", "Renewals of the certificate.").
			WithLabelValues(r.appID),
		renewFailed: r.counter("dapr_runtime_mtls_workload_cert_rotated_fail_total", "Renewals of the certificate that failed.", "reason"),
	}
}

// IdentityObtained counts the first certificate of this sidecar, or that there is none. In a cluster it is there before
// the Configuration, and is counted with Configure.
func (r *Registry) IdentityObtained(err error) {
	if r.identity == nil {
		r.early = append(r.early, err)
		return
	}
	if err == nil {
		r.identity.obtained.Inc()
	} else {
		r.identity.obtainFailed.WithLabelValues(r.appID, "sign").Inc()
	}
}

// IdentityRenewed counts a renewal of the certificate, or that it failed.
func (r *Registry) IdentityRenewed(err error) {
	if err == nil {
		r.identity.renewed.Inc()
	} else {
		r.identity.renewFailed.WithLabelValues(r.appID, "sign").Inc()
	}
}
