package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// exchange is the label set of one kind of HTTP exchange.
type exchange struct {
	verb, path string
	status     int
}

func (e exchange) own() exchange {
	return exchange{strings.Clone(e.verb), strings.Clone(e.path), e.status}
}

func (e exchange) folded() exchange {
	e.path = other
	return e
}

type served struct {
	requests, responses prometheus.Counter // responses is nil where paths are hidden
	latency             prometheus.Observer
}

// httpServerFamilies count what the HTTP API answers.
type httpServerFamilies struct {
	series         *bounded[exchange, served]
	received, sent prometheus.Observer
}

func newHTTPServerFamilies(r *Registry) *httpServerFamilies {
	labels := []string{"method", "path", "status"}
	const name = "dapr_http_server_"
	requests := r.counter(name+"request_count", "Calls of the HTTP API that have been answered.", labels...)
	latency := r.latency(name+"latency", "Time from the first byte of a call of the HTTP API to the last one of its answer, in milliseconds.", labels...)
	received := r.histogram(name+"request_bytes", "Sizes of the bodies that the HTTP API received, in bytes.", sizeBuckets())
	sent := r.histogram(name+"response_bytes", "Sizes of the bodies that the HTTP API answered with, in bytes.", sizeBuckets())
	var responses *counterFamily
	if !r.settings.HidePaths {
		responses = r.counter(name+"response_count", "Answers of the HTTP API.", labels...)
	}
	return &httpServerFamilies{
		series: newBounded(exchange{other, other, noStatus}, func(e exchange) served {
			values := []string{r.appID, e.verb, text(e.path), status(e.status)}
			s := served{requests: requests.WithLabelValues(values...), latency: latency.WithLabelValues(values...)}
			if responses != nil {
				s.responses = responses.WithLabelValues(values...)
			}
			return s
		}).open(r, exchange.own, exchange.folded),
		received: received.WithLabelValues(r.appID),
		sent:     sent.WithLabelValues(r.appID),
	}
}

// HTTPServed counts one exchange of the HTTP API when its last byte is out. path is what patterns are matched
// with, label what is shown if none matches. verb is from a bounded set. All three may be borrowed. received and sent are
// the sizes of the bodies in bytes.
func (r *Registry) HTTPServed(verb, path, label string, status int, received, sent int64, elapsed time.Duration) {
	if !r.settings.Enabled {
		return
	}
	h := r.httpServer.series.handle(exchange{r.verb(verb), r.path(path, label), status})
	h.requests.Inc()
	if h.responses != nil {
		h.responses.Inc()
	}
	h.latency.Observe(milliseconds(elapsed))
	r.httpServer.received.Observe(float64(received))
	r.httpServer.sent.Observe(float64(sent))
}

type called struct {
	completed     prometheus.Counter
	latency, sent prometheus.Observer
}

// httpClientFamilies count the calls to an HTTP application.
type httpClientFamilies struct {
	series   *bounded[exchange, called]
	received prometheus.Observer
}

func newHTTPClientFamilies(r *Registry) *httpClientFamilies {
	labels := []string{"method", "path", "status"}
	const name = "dapr_http_client_"
	sent := r.histogram(name+"sent_bytes", "Sizes of the bodies that were sent to the application, in bytes.", sizeBuckets(), labels...)
	received := r.histogram(name+"received_bytes", "Sizes of the bodies that the application answered with, in bytes.", sizeBuckets())
	latency := r.latency(name+"roundtrip_latency", "Time from a call of the application to its answer, in milliseconds.", labels...)
	completed := r.counter(name+"completed_count", "Calls of the application that have ended.", labels...)
	return &httpClientFamilies{
		series: newBounded(exchange{other, other, noStatus}, func(e exchange) called {
			values := []string{r.appID, e.verb, text(rooted(e.path)), status(e.status)}
			return called{completed.WithLabelValues(values...), latency.WithLabelValues(values...), sent.WithLabelValues(values...)}
		}).open(r, exchange.own, exchange.folded),
		received: received.WithLabelValues(r.appID),
	}
}

// HTTPCalled counts one call of an HTTP application. path has no leading slash; verb is from a bounded set. Both may
// be borrowed. sent and received are the sizes of the bodies in bytes, less than 0 where nobody knows. elapsed is until
// the head of the answer was there.
func (r *Registry) HTTPCalled(verb, path string, status int, sent, received int64, elapsed time.Duration) {
	if !r.settings.Enabled {
		return
	}
	if path == "" {
		path = "/"
	}
	label := path
	if strings.HasPrefix(path, actorsPrefix) {
		label = ActorLabel(path)
	}
	h := r.httpClient.series.handle(exchange{r.verb(verb), r.path(path, label), status})
	h.completed.Inc()
	h.latency.Observe(milliseconds(elapsed))
	if sent >= 0 {
		h.sent.Observe(float64(sent))
	}
	if received >= 0 {
		r.httpClient.received.Observe(float64(received))
	}
}

// actorsPrefix begins the paths of an application's actors.
const actorsPrefix = "actors/"

// ActorLabel is what is shown of a path with actors/{type}/{id}/{what}/…: the type stays, the actor does not, nor anything
// behind what is done with it: a method, a key, a name.
func ActorLabel(path string) string {
	head, rest, _ := strings.Cut(path, actorsPrefix)
	actorType, rest, ok := strings.Cut(rest, "/")
	if !ok {
		return path
	}
	label := head + actorsPrefix + actorType + "/{id}"
	if _, what, more := strings.Cut(rest, "/"); more {
		what, _, _ = strings.Cut(what, "/")
		label += "/" + what
	}
	return label
}

// rooted is a path with its leading slash; what stands for paths stays.
func rooted(path string) string {
	if path == "" || path[0] == '/' || path == other {
		return path
	}
	return "/" + path
}

// path is what is shown of an HTTP path.
func (r *Registry) path(path, label string) string {
	if r.settings.patterns != nil {
		if pattern := r.settings.patterns.match(path); pattern != "" {
			return pattern
		}
	}
	if r.settings.HidePaths {
		return ""
	}
	return short(label)
}

// verb is what is shown of an HTTP verb.
func (r *Registry) verb(verb string) string {
	if r.settings.HideVerbs {
		return ""
	}
	return verb
}
