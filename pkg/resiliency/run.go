package resiliency

import (
	"context"
	"time"
)

// attempt is how attempts are made.
type attempt struct {
	// part is that of the target, "" for all of it.
	part string
	// outlives says that the context of the last attempt lives on.
	outlives bool
}

// run is the retry around everything.
func (t *target) run(ctx context.Context, how attempt, operation func(context.Context) error) error {
	b, around := t.breakersOf(how.part)
	t.counts.began(b)
	var schedule *Schedule
	for tries := 1; ; tries++ {
		release, err := t.guardedBy(ctx, around, b, how, operation)
		if err == nil {
			if schedule != nil {
				t.policies.log.Infof("Recovered processing operation %s after %d attempts", t.key.operation(how.part), tries)
			}
			return nil
		}
		if schedule == nil && t.retry != nil {
			schedule = t.retry.Begin()
		}
		pause, again := t.next(ctx, schedule, b, err)
		if !again {
			return err
		}
		if tries == 1 {
			t.policies.log.Warnf("Error processing operation %s. Retrying in %v…", t.key.operation(how.part), pause)
		}
		discard(err)
		release()
		t.counts.retried()
		if waited := Wait(ctx, pause); waited != nil {
			return waited
		}
	}
}

// next says whether and when to try again. A breaker that is still open then would refuse: the answer in hand is
// worth more.
func (t *target) next(ctx context.Context, schedule *Schedule, b *breaker, err error) (pause time.Duration, again bool) {
	if schedule == nil || ctx.Err() != nil || isOpen(err) || !judge(err, t.retry.matching).again {
		return 0, false
	}
	wish, _ := asked(err)
	pause, again = schedule.Next(wish)
	return pause, again && (b == nil || !b.openAfter(pause)) && !isFinal(err)
}

// breakersOf is the breaker of a part, and the one of the whole target around it, where there are both: an actor's and its
// type's.
func (t *target) breakersOf(part string) (b, around *breaker) {
	switch {
	case t.key.block != actorBlock || t.scope == "id":
		return t.breakers.of(part), nil
	case t.scope == "both":
		return t.breakers.of(part), t.breakers.of("")
	}
	return t.breakers.of(""), nil
}

// guardedBy is a breaker around guarded.
func (t *target) guardedBy(ctx context.Context, around, b *breaker, how attempt, operation func(context.Context) error) (release func(), err error) {
	if around == nil {
		return t.guarded(ctx, b, how, operation)
	}
	left, err := around.enter()
	if err != nil {
		t.counts.refused(around)
		return nothing, err
	}
	verdict := errFailed
	defer func() { left(verdict) }()
	release, err = t.guarded(ctx, b, how, operation)
	if verdict = t.verdict(ctx, err); isOpen(err) {
		verdict = errAbandoned // the actor's own breaker has refused it
	}
	return release, err
}

// guarded is the breaker around an attempt.
func (t *target) guarded(ctx context.Context, b *breaker, how attempt, operation func(context.Context) error) (release func(), err error) {
	if b == nil {
		return t.timed(ctx, how, operation)
	}
	left, err := b.enter()
	if err != nil {
		t.counts.refused(b)
		return nothing, err
	}
	verdict := errFailed // also of an operation that panics
	defer func() { left(verdict) }()
	release, err = t.timed(ctx, how, operation)
	verdict = t.verdict(ctx, err)
	return release, err
}

// verdict is how a breaker counts the end of an attempt.
func (t *target) verdict(ctx context.Context, err error) error {
	var m *matching
	if t.retry != nil {
		m = t.retry.matching
	}
	switch {
	case err == nil || !judge(err, m).failed:
		return nil
	case abandoned(ctx):
		return errAbandoned
	}
	return errFailed
}

func nothing() {}

// timed is one attempt within its time.
func (t *target) timed(ctx context.Context, how attempt, operation func(context.Context) error) (release func(), err error) {
	if t.timeout == nil || t.timeout.after <= 0 {
		return nothing, operation(ctx)
	}
	if how.outlives {
		return t.measured(ctx, how, operation)
	}
	within, cancel := context.WithTimeout(ctx, t.timeout.after)
	defer cancel()
	err = operation(within)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		err = t.late(how, err)
	}
	return nothing, err
}

// measured leaves the context of an attempt alive when it brought something: an answer whose body is still to be
// read. release ends it.
func (t *target) measured(ctx context.Context, how attempt, operation func(context.Context) error) (release func(), err error) {
	within, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(t.timeout.after, cancel)
	err = operation(within)
	switch inTime := timer.Stop(); {
	case !inTime && ctx.Err() == nil:
		discard(err)
		cancel()
		return nothing, t.late(how, err)
	case err != nil && !isHeld(err):
		cancel()
	}
	return cancel, err
}

// late is the error of an attempt whose time was over.
func (t *target) late(how attempt, cause error) error {
	t.counts.late()
	return &TimeoutError{Policy: t.timeout.name, Target: t.key.thing(how.part), After: t.timeout.after, final: isFinal(cause)}
}
