package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// topicOutcome is the label set of the pub/sub families. Topics come from outside: past 1000 sets they are "_other".
type topicOutcome struct{ component, topic, outcome string }

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
	return &pubsubFamilies{
		egress:      newTopicFamily(r, "egress", "success", false),
		egressBulk:  newTopicFamily(r, "egress_bulk", "success", true),
		ingress:     newTopicFamily(r, "ingress", "process_status", false),
		ingressBulk: newTopicFamily(r, "ingress_bulk", "process_status", true),
	}
}

func newTopicFamily(r *Registry, direction, outcome string, bulk bool) *topicFamily {
	labels := []string{"component", "namespace", outcome, "topic"}
	name := "dapr_component_pubsub_" + direction
	count := r.counter(name+"_count", "The number of calls of the pub/sub component or the application ("+direction+").", labels...)
	latency := r.latency(name+"_latencies", "The time that they took, in milliseconds ("+direction+").", labels...)
	var events *prometheus.CounterVec
	if bulk {
		events = r.counter(name+"_event_count", "The number of messages in them ("+direction+").", labels...)
	}
	return newBounded(topicOutcome{other, other, other}, func(k topicOutcome) topicSeries {
		values := []string{r.appID, text(k.component), r.namespace, k.outcome, text(k.topic)}
		series := topicSeries{count: count.WithLabelValues(values...), latency: latency.WithLabelValues(values...)}
		if bulk {
			series.events = events.WithLabelValues(values...)
		}
		return series
	})
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
		r.pubsub.egress.handle(topicOutcome{component, topic, strconv.FormatBool(success)}).add(1, elapsed)
	}
}

// PublishedBulk counts bulk publishes.
func (r *Registry) PublishedBulk(component string) func(topic string, success bool, messages int, elapsed time.Duration) {
	return func(topic string, success bool, messages int, elapsed time.Duration) {
		r.pubsub.egressBulk.handle(topicOutcome{component, topic, strconv.FormatBool(success)}).add(messages, elapsed)
	}
}

// Delivered counts the messages that the application was given; outcome is success, retry or drop.
func (r *Registry) Delivered(component string) func(topic, outcome string, elapsed time.Duration) {
	return func(topic, outcome string, elapsed time.Duration) {
		r.pubsub.ingress.handle(topicOutcome{component, topic, outcome}).add(1, elapsed)
	}
}

// DeliveredBulk counts bulk deliveries.
func (r *Registry) DeliveredBulk(component string) func(topic, outcome string, messages int, elapsed time.Duration) {
	return func(topic, outcome string, messages int, elapsed time.Duration) {
		r.pubsub.ingressBulk.handle(topicOutcome{component, topic, outcome}).add(messages, elapsed)
	}
}
