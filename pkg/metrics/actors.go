package metrics

import "github.com/prometheus/client_golang/prometheus"

// actorSeries are the handles of one type of actors.
type actorSeries struct {
	pending prometheus.Gauge
	// waiting are those that are not due yet, or run.
	waiting                         struct{ timers, reminders prometheus.Gauge }
	deactivated, failed, rebalanced prometheus.Counter
	// timers and reminders are those fired that failed, and those that did not.
	timers, reminders [2]prometheus.Counter
}

func newActorFamilies(r *Registry) *bounded[string, actorSeries] {
	const prefix, label = "dapr_runtime_actor_", "actor_type"
	pending := r.gauge(prefix+"pending_actor_calls", "Calls that wait for their turn at an actor.", label)
	deactivated := r.counter(prefix+"deactivated_total", "Actors that are no longer active, of which the application was told.", label)
	failed := r.counter(prefix+"deactivated_failed_total", "Actors that are no longer active, of which the application could not be told.", label)
	rebalanced := r.counter(prefix+"rebalanced_total", "Actors that went to another host.", label)
	waitingTimers := r.gauge(prefix+"timers", "Timers of this sidecar.", label)
	waitingReminders := r.gauge(prefix+"reminders", "Reminders that this sidecar fires when they are due: those of the actors that live there.", label)
	timers := r.counter(prefix+"timers_fired_total", "Ticks of timers that were brought to their actors.", label, "success")
	reminders := r.counter(prefix+"reminders_fired_total", "Reminders that were due and brought to their actors.", label, "success")
	return newBounded(other, func(actorType string) actorSeries {
		values := []string{r.appID, text(actorType)}
		series := actorSeries{pending: pending.WithLabelValues(values...), deactivated: deactivated.WithLabelValues(values...),
			failed: failed.WithLabelValues(values...), rebalanced: rebalanced.WithLabelValues(values...)}
		series.waiting.timers, series.waiting.reminders = waitingTimers.WithLabelValues(values...), waitingReminders.WithLabelValues(values...)
		for i, success := range []string{"false", "true"} {
			values := append(values, success)
			series.timers[i], series.reminders[i] = timers.WithLabelValues(values...), reminders.WithLabelValues(values...)
		}
		return series
	})
}

// ActorPending gives what is told of calls that begin (1) and end (-1) to wait for a turn at an actor of a type.
func (r *Registry) ActorPending(actorType string) func(n int) {
	return adder(r.actors.handle(short(actorType)).pending)
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

// ActorFired gives what counts the ticks of timers, and the firings of reminders, of a type.
func (r *Registry) ActorFired(actorType string) func(timer, success bool) {
	series := r.actors.handle(short(actorType))
	return func(timer, success bool) {
		counters := &series.reminders
		if timer {
			counters = &series.timers
		}
		if success {
			counters[1].Inc()
		} else {
			counters[0].Inc()
		}
	}
}

// ActorTimers gives what is told of timers of a type that begin (1) and end (-1).
func (r *Registry) ActorTimers(actorType string) func(n int) {
	return adder(r.actors.handle(short(actorType)).waiting.timers)
}

// ActorReminders gives what is told of reminders of a type that the sidecar begins (1) and ceases (-1) to wait for.
func (r *Registry) ActorReminders(actorType string) func(n int) {
	return adder(r.actors.handle(short(actorType)).waiting.reminders)
}

func adder(gauge prometheus.Gauge) func(n int) {
	return func(n int) { gauge.Add(float64(n)) }
}
