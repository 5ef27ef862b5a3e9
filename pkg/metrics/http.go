package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// exchange is the label set of one kind of HTTP exchange. Path is a bounded form: a route, or the path of
// an invocation.
type exchange struct {
	method, path string
	status       int
}

type served struct {
	requests, responses prometheus.Counter
	latency             prometheus.Observer
}

// httpFamilies count what the HTTP API answers.
type httpFamilies struct {
	series        *bounded[exchange, served]
	requestBytes  prometheus.Observer
	responseBytes prometheus.Observer
}

func newHTTPFamilies(r *Registry) *httpFamilies {
	labels := []string{"method", "path", "status"}
	requests := r.counter("dapr_http_server_request_count", "Count of HTTP requests processed by the server.", labels...)
	responses := r.counter("dapr_http_server_response_count", "The number of HTTP responses.", labels...)
	latency := r.latency("dapr_http_server_latency", "The end to end latency of HTTP requests, in milliseconds.", labels...)
	received := r.histogram("dapr_http_server_request_bytes", "HTTP request body size in bytes.", sizeBuckets())
	sent := r.histogram("dapr_http_server_response_bytes", "HTTP response body size in bytes.", sizeBuckets())
	return &httpFamilies{
		series: newBounded(exchange{method: other, path: other}, func(e exchange) served {
			values := []string{r.appID, text(e.method), text(e.path), status(e.status)}
			return served{requests.WithLabelValues(values...), responses.WithLabelValues(values...), latency.WithLabelValues(values...)}
		}),
		requestBytes:  received.WithLabelValues(r.appID),
		responseBytes: sent.WithLabelValues(r.appID),
	}
}

// HTTPServed counts one exchange of the HTTP API when its last byte is out. received and sent are the
// sizes of the bodies in bytes. path must come from a bounded set; past 1000 label sets it is "_other".
func (r *Registry) HTTPServed(method, path string, status int, received, sent int64, elapsed time.Duration) {
	h := r.http.series.handle(exchange{method, path, status})
	h.requests.Inc()
	h.responses.Inc()
	h.latency.Observe(milliseconds(elapsed))
	r.http.requestBytes.Observe(float64(received))
	r.http.responseBytes.Observe(float64(sent))
}
