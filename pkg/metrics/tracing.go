package metrics

// SpansDropped counts spans that an exporter (stdout, zipkin, otlp) could not take or could not send.
func (r *Registry) SpansDropped(exporter string, spans int) {
	r.spansDropped.WithLabelValues(r.appID, exporter).Add(float64(spans))
}
