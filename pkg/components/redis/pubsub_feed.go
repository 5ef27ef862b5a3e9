package redis

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/go-redis/redis/v8"
)

const (
	// wait bounds a read that waits for messages: a subscription that ends lets it run out, so that nothing is lost
	// on the way.
	wait = 500 * time.Millisecond
	// page is how many pending entries are looked at in one command.
	page = 100
)

// feed fills the queue until ctx ends. It survives a server that is away or not ready, and groups that are gone; the
// error is that of a server which answers that it will not do this.
func (s *subscription) feed(ctx context.Context) error {
	what := s.label + ": topic " + s.topic + ": messages"
	for {
		err := s.fetch(ctx)
		if isGone(err) {
			err = s.join(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			s.outage.over(s.log, what)
		case isFinal(err):
			return s.client.failed(err)
		default:
			s.outage.tell(s.log, what, s.client.failed(err))
			s.outage.pause(ctx)
		}
	}
}

// fetch takes over what others left, when it is time for it, and reads on.
func (s *subscription) fetch(ctx context.Context) error {
	if s.settings.claims() && !time.Now().Before(s.nextClaim) {
		if err := s.claim(ctx); err != nil {
			return err
		}
		s.nextClaim = time.Now().Add(s.settings.RedeliverInterval)
	}
	room := s.acquire(ctx)
	if room == 0 {
		return nil
	}
	sent, err := s.next(ctx, room)
	s.release(room - s.enqueue(sent))
	return err
}

// next reads at most count new entries.
func (s *subscription) next(ctx context.Context, count int) ([]redis.XMessage, error) {
	ctx, cancel := outlive(ctx, 2*wait)
	defer cancel()
	streams, err := s.reads.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: s.settings.ConsumerID, Consumer: s.settings.ConsumerID, Count: int64(count), Block: s.blocking(),
		Streams: []string{s.topic, ">"},
	}).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil || len(streams) == 0:
		return nil, err
	}
	return streams[0].Messages, nil
}

// blocking is how long a read waits. readTimeout, which bounds it in Dapr, may shorten it; so does the next look for
// what others left. The server takes 0 for ever.
func (s *subscription) blocking() time.Duration {
	block := wait
	if s.settings.ReadTimeout > 0 {
		block = min(block, s.settings.ReadTimeout)
	}
	if s.settings.claims() {
		block = min(block, time.Until(s.nextClaim))
	}
	return max(block, time.Millisecond)
}

// enqueue takes entries into hand, for which there is room, and says how many.
func (s *subscription) enqueue(sent []redis.XMessage) (taken int) {
	for i := range sent {
		if e := read(s, sent[i]); s.held.take(e) {
			s.queue <- e
			taken++
		}
	}
	return taken
}

// claim takes over the pending entries that nobody has touched for processingTimeout: those of consumers that died,
// and those that were given back.
func (s *subscription) claim(ctx context.Context) error {
	for start := "-"; ; {
		pending, err := s.client.XPendingExt(ctx, &redis.XPendingExtArgs{
			Stream: s.topic, Group: s.settings.ConsumerID, Start: start, End: "+", Count: page,
		}).Result()
		if err != nil || len(pending) == 0 {
			return err
		}
		var left []string
		for _, p := range pending {
			if p.Idle >= s.settings.ProcessingTimeout && !s.held.has(s.topic, p.ID) {
				left = append(left, p.ID)
			}
		}
		if err := s.takeOver(ctx, left); err != nil {
			return err
		}
		if len(pending) < page || ctx.Err() != nil {
			return nil
		}
		start = after(pending[len(pending)-1].ID)
	}
}

// takeOver claims entries as there is room for them. Of several replicas that try, the server lets one have an entry.
func (s *subscription) takeOver(ctx context.Context, ids []string) error {
	for len(ids) > 0 {
		room := s.acquire(ctx)
		if room == 0 {
			return nil
		}
		n := min(room, len(ids))
		sent, trimmed, err := s.claimEach(ctx, ids[:n])
		s.release(room - s.enqueue(sent))
		if err != nil {
			return err
		}
		if len(trimmed) > 0 {
			if err := s.client.XAck(ctx, s.topic, s.settings.ConsumerID, trimmed...).Err(); err != nil {
				return err
			}
		}
		ids = ids[n:]
	}
	return nil
}

// claimEach claims one by one, in one round trip, since a server before 7.0 answers with nothing in place of an entry
// that was trimmed, which spoils the whole answer. An entry that somebody else took is in neither list.
func (s *subscription) claimEach(ctx context.Context, ids []string) (sent []redis.XMessage, trimmed []string, err error) {
	ctx, cancel := outlive(ctx, patience)
	defer cancel()
	pipe := s.client.Pipeline()
	answers := make([]*redis.XMessageSliceCmd, len(ids))
	for i, id := range ids {
		answers[i] = pipe.XClaim(ctx, &redis.XClaimArgs{
			Stream: s.topic, Group: s.settings.ConsumerID, Consumer: s.settings.ConsumerID,
			MinIdle: s.settings.ProcessingTimeout, Messages: []string{id},
		})
	}
	_, _ = pipe.Exec(ctx)
	for i, answer := range answers {
		switch got, failure := answer.Result(); {
		case errors.Is(failure, redis.Nil):
			trimmed = append(trimmed, ids[i])
		case failure != nil:
			err = failure
		default:
			sent = append(sent, got...)
		}
	}
	return sent, trimmed, err
}

// isGone tells that the group is not there (any more): it was deleted, or the server lost its data.
func isGone(err error) bool {
	return err != nil && isAnswer(err) &&
		(strings.HasPrefix(err.Error(), "NOGROUP") || strings.HasPrefix(err.Error(), "UNBLOCKED"))
}
