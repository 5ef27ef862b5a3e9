package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/daprd/daprd/pkg/cloudevent"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/resiliency"
)

const (
	// firstLook, longestLook and looking pace the question whether a transaction is stored: the pauses grow threefold up
	// to the second, until the event is as old as the third. Dapr looks first after a second, and gives up after as long.
	firstLook   = 100 * time.Millisecond
	longestLook = 3 * time.Second
	looking     = 10 * time.Second
	// turn is the shortest time in which an event without a marker goes once round its topic; yielding bounds the
	// publishing for that.
	turn     = 5 * time.Second
	yielding = time.Second
	// silence is how long the log is told no more of events that wait on a lane.
	silence = time.Minute
	// lifetime is the age at which an event without a stored transaction is void: transactions of this outbox end within
	// state.PublishedTransactionTime, so that it was refused, or its event has been published before.
	lifetime = 15 * time.Minute
)

// receive is the handler of a lane.
func (s *Service) receive(l lane) pubsub.Handler {
	return func(ctx context.Context, messages []*pubsub.Message) []error {
		patience, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.closing, cancel)()
		errs := make([]error, len(messages))
		for i, m := range messages {
			if errs[i] = s.one(ctx, patience, l, m); errs[i] != nil && patience.Err() == nil {
				s.complain(l, errs[i])
			}
		}
		return errs
	}
}

// complaint is when the log was last told of an event that waits, and how many it was not told of since.
type complaint struct {
	at   time.Time
	more int
}

// complain tells the log of an event that waits.
func (s *Service) complain(l lane, err error) {
	s.mu.Lock()
	c := s.complaints[l]
	quiet := !c.at.IsZero() && time.Since(c.at) < silence
	if quiet {
		s.complaints[l] = complaint{c.at, c.more + 1}
	} else {
		s.complaints[l] = complaint{at: time.Now()}
	}
	s.mu.Unlock()
	text := fmt.Sprintf("an event of the outbox waits on topic %s of pubsub %s and is tried again: %s", l.topic, l.pubSub, err)
	switch {
	case quiet:
		s.deps.Log.Debug(text)
	case c.more == 0:
		s.deps.Log.Warn(text)
	default:
		s.deps.Log.Warnf("%s; events had to wait %d times more in the last %s", text, c.more, time.Since(c.at).Round(time.Second))
	}
}

// one publishes an event if its transaction is stored. nil means that the event is done with. When patience ends nothing
// is waited for any more; what can be done at once still is.
func (s *Service) one(ctx, patience context.Context, l lane, m *pubsub.Message) error {
	e, err := cloudevent.Parse(m.Data)
	id := e.Text("id")
	if err != nil || !strings.HasPrefix(id, idPrefix) {
		s.deps.Log.Errorf("a message on topic %s of pubsub %s is dropped: the topic is the outbox's, and the message is none of its events", l.topic, l.pubSub)
		return nil
	}
	if err := s.settled(patience, id); err != nil {
		return err
	}
	b, err := s.find(ctx, patience, l, id, madeAt(e))
	if missing := (errMissing("")); errors.As(err, &missing) {
		return s.yield(ctx, l, id, m, err)
	}
	s.found(id)
	if err != nil || b == nil {
		return err
	}
	if !s.isRefused(id) {
		// Dapr's stores without roll-back keep the marker of a transaction that they refused; nobody was promised its event.
		err := s.deps.PubSub.Publish(ctx, b.settings.PubSub, &pubsub.Publication{Topic: b.settings.Topic, Data: m.Data, ContentType: cloudevent.ContentType})
		if err != nil {
			return fmt.Errorf("event %s of state store %s: %w", id, b.store, err)
		}
	}
	if err := b.records.DeleteStored(ctx, b.store, id); err != nil {
		return fmt.Errorf("event %s of state store %s is published, its marker stands: %w", id, b.store, err)
	}
	return nil
}

// settled waits until a transaction of this sidecar is over.
func (s *Service) settled(ctx context.Context, id string) error {
	s.mu.Lock()
	over, pending := s.pending[id]
	s.mu.Unlock()
	if !pending {
		return nil
	}
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Service) isRefused(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused.Contains(id)
}

// errMissing is an event without a marker: its transaction may be under way elsewhere, or has failed unseen.
type errMissing string

func (e errMissing) Error() string {
	return fmt.Sprintf("event %s: its transaction is not stored", string(e))
}

// miss is when the marker of an event was first looked for in vain, and when the event was last sent round its topic.
type miss struct{ first, sent time.Time }

// missing is how long ago the marker of an event was first looked for in vain.
func (s *Service) missing(id string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.missed.Get(id)
	if !ok {
		m.first = time.Now()
		s.missed.Add(id, m)
	}
	return time.Since(m.first)
}

func (s *Service) found(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.missed.Remove(id)
}

// yield lets the events pass that stand behind one without a marker: brokers bound what they have in hand, and many such
// events would hold up all others. The event is put at the end of the topic, unless it has just come round: then, and when
// that fails, it waits, and cause says why.
func (s *Service) yield(ctx context.Context, l lane, id string, m *pubsub.Message, cause error) error {
	s.mu.Lock()
	before, _ := s.missed.Get(id)
	s.mu.Unlock()
	if time.Since(before.sent) < turn {
		return cause
	}
	ctx, cancel := context.WithTimeout(ctx, yielding)
	defer cancel()
	if err := s.deps.PubSub.PublishOwn(ctx, l.pubSub, l.topic, m.Data); err != nil {
		return cause
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.missed.Add(id, miss{before.first, time.Now()})
	return nil
}

// find gives the outbox whose store has the marker of an event. Without an error nil is an event that is void.
func (s *Service) find(ctx, patience context.Context, l lane, id string, made time.Time) (*box, error) {
	for pause := firstLook; ; pause = min(3*pause, longestLook) {
		boxes := s.boxesOf(l)
		b, err := marked(ctx, boxes, id)
		if err != nil || b != nil {
			return b, err
		}
		missing, age := s.missing(id), time.Since(made)
		switch {
		case len(boxes) == 0:
			return nil, errors.New("no state store has this outbox any more")
		case s.isRefused(id):
			s.deps.Log.Debugf("event %s of the outbox is dropped: its transaction was refused", id)
			return nil, nil
		case !made.IsZero() && age > lifetime:
			s.deps.Log.Warnf("event %s of the outbox on topic %s of pubsub %s is dropped: its transaction is not stored %s after it began", id, l.topic,
				l.pubSub, age.Round(time.Second))
			return nil, nil
		case missing < looking && age < looking:
			if err := resiliency.Wait(patience, pause); err != nil {
				return nil, err
			}
		case missing >= looking && discardMissing(boxes):
			s.deps.Log.Warnf("event %s of the outbox on topic %s of pubsub %s is dropped: its transaction is not stored (outboxDiscardWhenMissingState)", id,
				l.topic, l.pubSub)
			return nil, nil
		default:
			return nil, errMissing(id)
		}
	}
}

func (s *Service) boxesOf(l lane) []*box {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in := s.inboxes[l]; in != nil {
		return in.boxes
	}
	return nil
}

// marked asks every store of a lane. A failure counts only where no store has the marker.
func marked(ctx context.Context, boxes []*box, id string) (*box, error) {
	var failure error
	for _, b := range boxes {
		found, err := b.records.HasStored(ctx, b.store, id)
		if found {
			return b, nil
		}
		if err != nil {
			failure = fmt.Errorf("event %s: %w", id, err)
		}
	}
	return nil, failure
}

func discardMissing(boxes []*box) bool {
	for _, b := range boxes {
		if !b.settings.DiscardMissing {
			return false
		}
	}
	return true
}

// madeAt is when an event was made: its id tells, which callers cannot replace, and of Dapr's the attribute time. It is zero
// where neither does.
func madeAt(e cloudevent.Event) time.Time {
	if id, err := uuid.Parse(strings.TrimPrefix(e.Text("id"), idPrefix)); err == nil && id.Version() == idVersion {
		return time.Unix(id.Time().UnixTime())
	}
	at, _ := time.Parse(time.RFC3339, e.Text("time"))
	return at
}
