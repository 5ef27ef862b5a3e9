package redis

import (
	"context"
	"slices"
	"time"

	"github.com/go-redis/redis/v8"
)

// An entry belongs to whoever touched it last, until it has been idle for processingTimeout: since all replicas are
// the same consumer, nothing else tells them apart. A process that last touched an entry some time ago still has it
// if the entry has been idle for at least that time. XCLAIM makes that check and the next touch one step.

// minIdle is the idle time of an entry that nobody has touched since this process did, age ago: a little less than
// age, for clocks do not go alike.
func minIdle(age time.Duration) int64 {
	return max(0, (age - age/100 - 5*time.Millisecond).Milliseconds())
}

// reclaim touches an entry that nobody else has touched. idle, where it is not 0, is how idle the entry is afterwards.
func (s *subscription) reclaim(ctx context.Context, pipe redis.Pipeliner, e *entry, idle time.Duration) *redis.Cmd {
	arguments := []any{"XCLAIM", s.topic, s.settings.ConsumerID, s.settings.ConsumerID, minIdle(s.held.age(e)), e.message.ID}
	if idle > 0 {
		arguments = append(arguments, "IDLE", idle.Milliseconds())
	}
	return pipe.Do(ctx, append(arguments, "JUSTID")...)
}

// renew begins the processing time of entries anew that have waited for a while, and drops those that another
// process has taken over meanwhile. A server that does not answer takes nothing away.
func (s *subscription) renew(ctx context.Context, batch []*entry) []*entry {
	if !s.settings.claims() {
		return batch
	}
	var waited []*entry
	for _, e := range batch {
		if s.held.age(e) > s.settings.ProcessingTimeout/10 {
			waited = append(waited, e)
		}
	}
	if len(waited) == 0 {
		return batch
	}
	pipe := s.client.Pipeline()
	answers := make([]*redis.Cmd, len(waited))
	for i, e := range waited {
		answers[i] = s.reclaim(ctx, pipe, e, 0)
	}
	_, _ = pipe.Exec(ctx)
	var lost []*entry
	for i, answer := range answers {
		switch ids, err := answer.Slice(); {
		case err != nil:
		case len(ids) == 0:
			lost = append(lost, waited[i])
		default:
			s.held.touch(waited[i])
		}
	}
	s.forget(lost)
	return slices.DeleteFunc(batch, func(e *entry) bool { return slices.Contains(lost, e) })
}

// giveBack lets the next one who looks take over what is still in hand, as if it had been left for long enough.
func (s *subscription) giveBack(ctx context.Context) {
	left := s.held.of(s)
	if len(left) == 0 {
		return
	}
	defer s.forget(left)
	if !s.settings.claims() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pipe := s.client.Pipeline()
	for _, e := range left {
		s.reclaim(ctx, pipe, e, s.settings.ProcessingTimeout)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		s.log.Warnf("%s: topic %s: %d messages could not be given back, and are delivered again after %v: %v",
			s.label, s.topic, len(left), s.settings.ProcessingTimeout, s.client.failed(err))
	}
}
