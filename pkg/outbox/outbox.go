// Package outbox is the transactional outbox: what the transactions of a state store write is published once it is
// stored, and not otherwise (docs/outbox.md). It must not know technologies, or how calls arrive.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/state"
)

// Deps are what a Service needs from the sidecar around it.
type Deps struct {
	// AppID and Namespace name the internal topics; events have the app id for their source.
	AppID, Namespace string
	PubSub           *pubsub.Service
	Log              logrus.FieldLogger
}

// Service is the outbox of all state stores: a state.Outbox. Its methods may be called by many goroutines at once.
type Service struct {
	deps Deps
	// closing ends when events are given back rather than waited for.
	closing context.Context
	stop    context.CancelFunc

	mu sync.Mutex
	// boxes are by store; inboxes by what they are subscribed to.
	boxes   map[string]*box
	inboxes map[lane]*inbox
	closed  bool
	// pending are the events whose transactions are under way in this sidecar, refused those whose transactions it knows
	// not to be stored.
	pending map[string]chan struct{}
	refused *lru.LRU[string, struct{}]
	// missed are the events whose markers were looked for in vain; complaints are what the log was told of lanes.
	missed     *lru.LRU[string, miss]
	complaints map[lane]complaint
}

// remembered bounds the transactions that are known to have been refused, beyond which a store is asked instead, and the
// events without markers, beyond which they are looked for from the beginning.
const remembered = 10000

// lane is an internal topic: where events wait until their transaction is known to be stored.
type lane struct{ pubSub, topic string }

// box is the outbox of one store.
type box struct {
	store    string
	settings state.OutboxSettings
	lane     lane
	records  *state.Service
}

// inbox is the subscription of a lane, which several stores may share.
type inbox struct {
	subscription *pubsub.Own
	boxes        []*box
}

// NewService makes an outbox without stores.
func NewService(deps Deps) *Service {
	s := &Service{deps: deps, boxes: map[string]*box{}, inboxes: map[lane]*inbox{}, pending: map[string]chan struct{}{}, complaints: map[lane]complaint{}}
	s.refused, _ = lru.NewLRU[string, struct{}](remembered, nil) // it fails for a size of 0 only
	s.missed, _ = lru.NewLRU[string, miss](remembered, nil)
	s.closing, s.stop = context.WithCancel(context.Background())
	return s
}

// Follow begins, changes or ends the outbox of a store.
func (s *Service) Follow(store string, settings *state.OutboxSettings, records *state.Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.boxes[store]
	if s.closed || before == nil && settings == nil || before != nil && settings != nil && before.settings == *settings {
		return
	}
	var next *box
	if settings != nil {
		next = &box{store: store, settings: *settings, records: records,
			lane: lane{settings.Through, s.deps.Namespace + s.deps.AppID + settings.Topic + "outbox"}}
		s.enter(next)
		s.deps.Log.Infof("outbox enabled for state store %s: its transactions are published to topic %s of pubsub %s, by way of topic %s of pubsub %s",
			store, settings.Topic, settings.PubSub, next.lane.topic, next.lane.pubSub)
	}
	if before != nil {
		s.leave(before)
	}
	delete(s.boxes, store)
	if next != nil {
		s.boxes[store] = next
	}
}

func (s *Service) enter(b *box) {
	in := s.inboxes[b.lane]
	if in == nil {
		in = &inbox{subscription: s.deps.PubSub.SubscribeOwn(b.lane.pubSub, b.lane.topic, s.receive(b.lane))}
		s.inboxes[b.lane] = in
	}
	in.boxes = append(slices.Clip(in.boxes), b)
}

// leave takes a store off its lane. The last one ends the subscription; events in hand finish, the broker keeps others.
func (s *Service) leave(b *box) {
	in := s.inboxes[b.lane]
	// A copy: whoever looks for a marker has the list in hand.
	in.boxes = slices.DeleteFunc(slices.Clone(in.boxes), func(other *box) bool { return other == b })
	if len(in.boxes) == 0 {
		delete(s.inboxes, b.lane)
		in.subscription.EndLater()
	}
}

// Close ends the outbox: events in hand whose transaction is not known yet are given back to the broker.
func (s *Service) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	ending := slices.Collect(maps.Values(s.inboxes))
	s.mu.Unlock()
	s.stop()
	var wait sync.WaitGroup
	errs := make([]error, len(ending))
	for i, in := range ending {
		wait.Go(func() { errs[i] = in.subscription.End(ctx) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// outgoing is a state.Outgoing.
type outgoing struct {
	service *Service
	box     *box
	// subscription is what the events need to be kept.
	subscription *pubsub.Own
	operations   []state.RawOperation
	events       []event
	published    bool
}

// Take finds out what of a transaction is published: each upsert, with the value of its projection where it has one.
func (s *Service) Take(store string, t *state.Transaction) (state.Outgoing, error) {
	out := &outgoing{service: s, operations: t.Operations}
	s.mu.Lock()
	if out.box = s.boxes[store]; out.box != nil {
		out.subscription = s.inboxes[out.box.lane].subscription
	}
	s.mu.Unlock()
	if out.box == nil {
		return out, nil // the store has just lost its outbox
	}
	var err error
	if out.operations, out.events, err = s.split(out.box, t); err != nil {
		return nil, s.unpublished(err)
	}
	return out, nil
}

func (o *outgoing) Operations() []state.RawOperation { return o.operations }

func (o *outgoing) Markers() []string {
	keys := make([]string, len(o.events))
	for i := range o.events {
		keys[i] = o.events[i].id
	}
	return keys
}

// beginning is how long a transaction waits for the subscription that its events need.
const beginning = 5 * time.Second

// Publish puts the events on the internal topic. Until that was subscribed to for the first time, brokers may keep
// nothing of what is published there.
func (o *outgoing) Publish(ctx context.Context) error {
	if len(o.events) == 0 {
		return nil
	}
	s, l := o.service, o.box.lane
	o.begin()
	if err := s.deps.PubSub.Permitted(o.box.settings.PubSub, o.box.settings.Topic); err != nil {
		return s.unpublished(err)
	}
	if !s.deps.PubSub.Has(l.pubSub) {
		return s.unpublished(apierr.PubSubNotFound.New(l.pubSub))
	}
	waiting, cancel := context.WithTimeout(ctx, beginning)
	defer cancel()
	select {
	case <-o.subscription.Ready():
	case <-waiting.Done():
		return s.unpublished(fmt.Errorf("topic %s of pubsub %s could not be subscribed to yet; the metadata API tells why", l.topic, l.pubSub))
	}
	for i := range o.events {
		if err := s.deps.PubSub.PublishOwn(ctx, l.pubSub, l.topic, o.events[i].text); err != nil {
			return s.unpublished(err)
		}
	}
	o.published = true
	return nil
}

// begin lets those who get the events know that the transaction is under way.
func (o *outgoing) begin() {
	o.service.mu.Lock()
	defer o.service.mu.Unlock()
	for i := range o.events {
		o.service.pending[o.events[i].id] = make(chan struct{})
	}
}

// Settle wakes those who wait for the transaction's end. Events of one that was never sent to the store, or that the store
// refused, are known to be void.
func (o *outgoing) Settle(err error) {
	s := o.service
	s.mu.Lock()
	defer s.mu.Unlock()
	void := err != nil && (!o.published || !uncertain(err))
	for i := range o.events {
		id := o.events[i].id
		if void {
			s.refused.Add(id, struct{}{})
		}
		close(s.pending[id])
		delete(s.pending, id)
	}
}

// uncertain says whether a store that gave err may store the transaction all the same, or later: its answer was not
// waited for, or got lost.
func uncertain(err error) bool {
	if own := new(apierr.Error); errors.As(err, &own) {
		err = own.Unwrap() // what the store said
	}
	var network net.Error
	switch status.Code(err) {
	case codes.Canceled, codes.DeadlineExceeded, codes.Unavailable: // of a store in a process of its own
		return true
	}
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)
}

func (s *Service) unpublished(err error) error {
	return apierr.StateOutbox.New(err).WithMetadata("appID", s.deps.AppID, "error", err.Error())
}
