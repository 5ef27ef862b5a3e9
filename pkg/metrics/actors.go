package metrics

import "github.com/prometheus/client_golang/prometheus"

// actorSeries are the handles of one type of actors.
type actorSeries struct {
	pending                         prometheus.Gauge
	deactivated, failed, rebalanced prometheus.Counter
}

func newActorFamilies(r *Registry) *bounded[string, actorSeries] {
	const prefix, label = "dapr_runtime_actor_", "actor_type"
	pending := r.gauge(prefix+"pending_actor_calls", "Calls that wait for their turn at an actor.", label)
	deactivated := r.counter(prefix+"deactivated_total", "Actors that are no longer active, of which the application was told.", label)
	failed := r.counter(prefix+"deactivated_failed_total", "Actors that are no longer active, of which the application could not be told.", label)
	rebalanced := r.counter(prefix+"rebalanced_total", "Actors that went to another host.", label)
	return newBounded(other, func(actorType string) actorSeries {
		values := []string{r.appID, text(actorType)}
		return actorSeries{pending.WithLabelValues(values...), deactivated.WithLabelValues(values...), failed.WithLabelValues(values...),
			rebalanced.WithLabelValues(values...)}
	})
}

// ActorPending gives what is told of calls that begin (1) and end (-1) to wait for a turn at an actor of a type.
func (r *Registry) ActorPending(actorType string) func(n int) {
	gauge := r.actors.handle(short(actorType)).pending
	return func(n int) { gauge.Add(float64(n)) }
}

// ActorDeactivated gives what counts the actors of a type that have left.
func (r *Registry) ActorDeactivated(actorType string) func(success bool) {
	series := r.actors.handle(short(actorType))
	return func(success bool) {
		if success {
			series.deactivated.Inc()
		} else {
			series.failed.Inc()
		}
	}
}

// ActorRebalanced gives what counts the actors of a type that went to another host.
func (r *Registry) ActorRebalanced(actorType string) func() {
	return r.actors.handle(short(actorType)).rebalanced.Inc
}
