package metrics

import (
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// topicOutcome is the label set of the pub/sub families. Topics come from outside.
type topicOutcome struct{ component, topic, outcome string }

func (t topicOutcome) own() topicOutcome {
	t.topic = strings.Clone(t.topic)
	return t
}

func (t topicOutcome) folded() topicOutcome {
	t.topic = other
	return t
}

// topicSeries are the handles of one label set.
type topicSeries struct {
	count, events prometheus.Counter
	latency       prometheus.Observer
}

// topicFamily is a count, a latency and, for bulk, the messages of one direction.
type topicFamily = bounded[topicOutcome, topicSeries]

// pubsubFamilies are dapr_component_pubsub_*.
type pubsubFamilies struct{ egress, egressBulk, ingress, ingressBulk *topicFamily }

func newPubSubFamilies(r *Registry) *pubsubFamilies {
	egress := []string{"component", "namespace", "success", "topic"}
	return &pubsubFamilies{
		egress:     newTopicFamily(r, "egress", "messages that were published", egress...),
		egressBulk: newTopicFamily(r, "egress_bulk", "bulks that were published", egress...),
		// status is the newer name of process_status; single deliveries show both.
		ingress:     newTopicFamily(r, "ingress", "messages that the application was given", "component", "namespace", "process_status", "topic", "status"),
		ingressBulk: newTopicFamily(r, "ingress_bulk", "bulks that the application was given", "component", "namespace", "process_status", "topic"),
	}
}

func newTopicFamily(r *Registry, direction, counted string, labels ...string) *topicFamily {
	name := "dapr_component_pubsub_" + direction
	count := r.counter(name+"_count", "The number of "+counted+".", labels...)
	latency := r.latency(name+"_latencies", "The time that "+counted+" took, in milliseconds.", labels...)
	var events *counterFamily
	if strings.HasSuffix(direction, "_bulk") {
		events = r.counter(name+"_event_count", "The number of messages in "+counted+".", labels...)
	}
	return newBounded(topicOutcome{other, other, other}, func(k topicOutcome) topicSeries {
		values := append([]string{r.appID, text(k.component), r.namespace, k.outcome, text(k.topic)}, k.outcome)[:1+len(labels)]
		series := topicSeries{count: count.WithLabelValues(values...), latency: latency.WithLabelValues(values...)}
		if events != nil {
			series.events = events.WithLabelValues(values...)
		}
		return series
	}).open(r, topicOutcome.own, topicOutcome.folded)
}

func (s topicSeries) add(messages int, elapsed time.Duration) {
	s.count.Inc()
	s.latency.Observe(milliseconds(elapsed))
	if s.events != nil {
		s.events.Add(float64(messages))
	}
}

// Published counts the messages that a component was given.
func (r *Registry) Published(component string) func(topic string, success bool, elapsed time.Duration) {
	return func(topic string, success bool, elapsed time.Duration) {
		r.pubsub.egress.handle(topicOutcome{component, short(topic), strconv.FormatBool(success)}).add(1, elapsed)
	}
}

// PublishedBulk counts bulk publishes.
func (r *Registry) PublishedBulk(component string) func(topic string, success bool, messages int, elapsed time.Duration) {
	return func(topic string, success bool, messages int, elapsed time.Duration) {
		r.pubsub.egressBulk.handle(topicOutcome{component, short(topic), strconv.FormatBool(success)}).add(messages, elapsed)
	}
}

// Delivered counts the messages that the application was given; outcome is success, retry or drop.
func (r *Registry) Delivered(component string) func(topic, outcome string, elapsed time.Duration) {
	return func(topic, outcome string, elapsed time.Duration) {
		r.pubsub.ingress.handle(topicOutcome{component, short(topic), outcome}).add(1, elapsed)
	}
}

// DeliveredBulk counts bulk deliveries.
func (r *Registry) DeliveredBulk(component string) func(topic, outcome string, messages int, elapsed time.Duration) {
	return func(topic, outcome string, messages int, elapsed time.Duration) {
		r.pubsub.ingressBulk.handle(topicOutcome{component, short(topic), outcome}).add(messages, elapsed)
	}
}
