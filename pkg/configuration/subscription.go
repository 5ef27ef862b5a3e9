package configuration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/resiliency"
)

const (
	// maxSubscriptions bounds the subscriptions of a sidecar: each holds a goroutine and, at most stores, a connection.
	maxSubscriptions = 1000
	// firstPause and longestPause bound the pauses of a subscription whose store is lost.
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
)

var (
	errTooMany = fmt.Errorf("there are %d subscriptions already, and no more are kept; unsubscribe those that are not needed", maxSubscriptions)
	errEnding  = errors.New("the sidecar is shutting down")
	errStopped = errors.New("the store has ended it without an error")
	// ErrUnknown is an id that no subscription has.
	ErrUnknown = errors.New("subscription does not exist")
)

// subscription brings the changes of items of a store to somebody, each by itself, in the order in which they came. What
// comes faster than it is taken is kept by key: the newest value of a key wins, so that a slow receiver holds up no store
// and costs no more than the items.
//
// Each time the subscription is made the items are read: what differs from what was told last has changed while nobody
// listened, or at a store that took the place of another, and is told then.
type subscription struct {
	service   *Service
	id, store string
	keys      []string
	metadata  map[string]string

	// app says that the application is told; otherwise whoever watches reads.
	app   bool
	began time.Time

	ctx context.Context
	end context.CancelFunc
	// done is closed when the store is let go, no call of the application is under way, and the id is unknown again.
	done chan struct{}
	// arrived says that there are changes to be taken.
	arrived chan struct{}

	mu sync.Mutex
	// changed are the items to be taken, turns their keys in order.
	changed map[string]Item
	turns   []string
	// known are the hashes of the items as they were told last, or read at first; read says that they were.
	known map[string]uint64
	read  bool
	// heard are the keys that the store told of while the subscription was being made; nil otherwise. What is read
	// meanwhile may be older.
	heard map[string]struct{}
	// again ends the subscription at the store, so that it begins anew.
	again context.CancelFunc
}

// Watch brings changes of the items of keys, of all items for no keys, to send until ctx ends, the subscription is
// unsubscribed, or the sidecar ends. begun is given its id when the store has taken it, before the first change.
func (s *Service) Watch(ctx context.Context, store string, keys []string, metadata map[string]string, begun func(id string) error, send func(id string, items map[string]Item) error) error {
	sub, err := s.subscribe(ctx, &subscription{store: store, keys: keys, metadata: metadata})
	if err != nil {
		return err
	}
	defer sub.finish()
	if err := begun(sub.id); err != nil {
		return err
	}
	return sub.deliver(send)
}

// SubscribeApp brings changes to the application, one call for each changed key, and gives the id of the subscription.
func (s *Service) SubscribeApp(ctx context.Context, store string, keys []string, metadata map[string]string) (string, error) {
	if _, ok := s.deps.App.Load(); !ok {
		return "", apierr.ConfigurationNoApp.New()
	}
	// The subscription outlives the request, whose memory the name may lie in.
	sub, err := s.subscribe(ctx, &subscription{store: strings.Clone(store), keys: keys, metadata: metadata, app: true})
	if err != nil {
		return "", err
	}
	return sub.id, nil
}

// tell brings a change to the application. One that cannot be brought is logged: the next one brings the newest value.
func (b *subscription) tell(id string, items map[string]Item) error {
	app, ok := b.service.deps.App.Load()
	if !ok {
		return nil
	}
	for key, item := range items {
		update := &channel.ConfigurationUpdate{Subscription: id, Store: b.store, Key: key,
			Items: map[string]channel.ConfigurationItem{key: channel.ConfigurationItem(item)}}
		if err := app.ConfigurationUpdate(b.ctx, update); err != nil && b.ctx.Err() == nil {
			b.service.deps.Log.Errorf("the application was not told of the change of the configuration item %q of %s: %s", key, b.store, err)
		}
	}
	return nil
}

// Unsubscribe ends a subscription; ErrUnknown if there is none of that id.
func (s *Service) Unsubscribe(id string) error {
	s.mu.Lock()
	sub, ok := s.subscriptions[id]
	s.mu.Unlock()
	if !ok {
		return ErrUnknown
	}
	began := time.Now()
	sub.finish()
	if c, ok := s.stores.Look(sub.store); ok {
		c.unsubscribed(true, time.Since(began))
	}
	return nil
}

// subscribe begins a subscription and waits until the store has taken it, or ctx ends. One of the application outlives
// ctx once it is taken.
func (s *Service) subscribe(ctx context.Context, sub *subscription) (*subscription, error) {
	held, err := s.take(sub.store)
	if err != nil {
		return nil, err
	}
	c, began := held.Value, time.Now()
	held.Leave()
	sub.service, sub.id, sub.began, sub.keys = s, uuid.NewString(), began, slices.Sorted(slices.Values(sub.keys))
	sub.done, sub.arrived, sub.known = make(chan struct{}), make(chan struct{}, 1), map[string]uint64{}
	sub.ctx, sub.end = context.WithCancel(context.WithoutCancel(ctx))
	leave := context.AfterFunc(ctx, sub.end)
	if err = s.keep(sub); err == nil {
		taken := make(chan error, 1)
		go sub.run(taken)
		if err = <-taken; err == nil && sub.app && !leave() {
			err = context.Cause(ctx)
		}
		if err != nil {
			sub.finish()
		}
	}
	c.subscribed(err == nil, time.Since(began))
	if err != nil {
		sub.end()
		return nil, apierr.ConfigurationSubscribe.New(fmt.Sprint(sub.keys), sub.store, err)
	}
	return sub, nil
}

// keep makes the subscription known. Where there are too many, one of the application takes the place of its oldest for
// the same items: an application that started again has forgotten that, and would be refused for ever.
func (s *Service) keep(sub *subscription) error {
	for {
		twin, err := s.tryKeep(sub)
		if twin == nil {
			return err
		}
		s.deps.Log.Infof("there are %d configuration subscriptions: %s of the application to %s gives way to %s for the same items",
			maxSubscriptions, twin.id, sub.store, sub.id)
		twin.finish()
	}
}

// tryKeep gives the subscription that is to give way first, if there is one.
func (s *Service) tryKeep(sub *subscription) (twin *subscription, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return nil, errEnding
	case len(s.subscriptions) < maxSubscriptions:
		s.subscriptions[sub.id] = sub
		return nil, nil
	case sub.app:
		for _, one := range s.subscriptions {
			if one.like(sub) && (twin == nil || one.began.Before(twin.began)) {
				twin = one
			}
		}
	}
	if twin == nil {
		err = errTooMany
	}
	return twin, err
}

// like says that both bring the same items to the application.
func (b *subscription) like(o *subscription) bool {
	return b.app && o.app && b.store == o.store && slices.Equal(b.keys, o.keys) && maps.Equal(b.metadata, o.metadata)
}

func (s *Service) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.subscriptions, id)
}

// outage is the time in which subscriptions of a store are lost.
type outage struct {
	lost        int
	since, told time.Time
}

// lost says that a subscription is lost, or could not be made again; first that it was not lost before. A line tells of
// the store's first one, and another of each minute that it lasts.
func (s *Service) lost(store string, first bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	o := s.outages[store]
	if o == nil {
		o = &outage{since: now}
		s.outages[store] = o
	}
	if first {
		o.lost++
	}
	if now.Sub(o.told) >= time.Minute {
		o.told = now
		s.deps.Log.Warnf("subscriptions to configuration store %s are lost and tried again: %s", store, err)
	}
}

// regained says that a lost subscription is made again, or has ended. A line tells that the last one is made.
func (s *Service) regained(store string, made bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.outages[store]
	if o.lost--; o.lost > 0 {
		return
	}
	delete(s.outages, store)
	if made {
		s.deps.Log.Infof("subscriptions to configuration store %s are made again, after %s", store, time.Since(o.since).Round(time.Millisecond))
	}
}

// finish ends the subscription and waits until nothing is left of it.
func (b *subscription) finish() {
	b.end()
	<-b.done
}

// run is the life of the subscription. taken hears how the first attempt went.
func (b *subscription) run(taken chan<- error) {
	var calls sync.WaitGroup
	begun, lost, pause := false, false, firstPause
	defer func() {
		b.end()
		calls.Wait()
		if lost {
			b.service.regained(b.store, false)
		}
		b.service.forget(b.id)
		close(b.done)
	}()
	established := func() {
		pause = firstPause
		if lost {
			lost = false
			b.service.regained(b.store, true)
		}
		if begun {
			return
		}
		begun = true
		if b.app {
			calls.Go(func() { _ = b.deliver(b.tell) })
		}
		taken <- nil
	}
	for b.ctx.Err() == nil {
		err := b.attempt(established)
		switch {
		case err == nil:
		case !begun:
			taken <- err
			return
		case b.ctx.Err() == nil:
			b.service.lost(b.store, !lost, err)
			lost = true
			if resiliency.Wait(b.ctx, pause) != nil {
				return
			}
			pause = min(2*pause, longestPause)
		}
	}
	if !begun {
		taken <- context.Cause(b.ctx)
	}
}

// attempt holds the store in use for as long as the subscription lasts there. It gives no error when the subscription
// has ended or is to begin anew at once.
func (b *subscription) attempt(established func()) error {
	ctx, again := context.WithCancel(b.ctx)
	defer again()
	// Before the store is taken: a store that takes its place after that ends this attempt.
	b.mu.Lock()
	b.again = again
	b.mu.Unlock()
	held, err := b.service.take(b.store)
	if err != nil {
		return err
	}
	defer held.Leave()
	ended, err := b.establish(ctx, held.Value)
	if err == nil {
		established()
		err = <-ended
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// establish makes the subscription under the store's policy, whose timeout counts up to there only, and reads the items.
// ended brings why the subscription has ended at the store, never nil before ctx ends.
func (b *subscription) establish(ctx context.Context, c *component) (ended <-chan error, err error) {
	return resiliency.Do(ctx, c.guard, func(within context.Context) (<-chan error, error) {
		b.listen()
		stream, cut := context.WithCancel(ctx)
		made, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			defer cut()
			err := c.store.Subscribe(stream, b.keys, b.metadata, func() { close(made) }, b.change)
			if err == nil {
				err = errStopped
			}
			ended <- err
		}()
		select {
		case <-made:
		case err := <-ended:
			select {
			case <-made: // and lost at once
				ended <- err
			default:
				return nil, err
			}
		case <-within.Done():
			cut()
			<-ended
			return nil, context.Cause(within)
		}
		items, err := c.get(within, b.keys, b.metadata)
		if err != nil {
			cut()
			<-ended
			return nil, err
		}
		b.compare(items)
		return ended, nil
	})
}

// listen remembers what the store tells of, until compare.
func (b *subscription) listen() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard = map[string]struct{}{}
}

// compare learns the items that were read, the first time, and later tells those that differ from what is known.
func (b *subscription) compare(items map[string]Item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	differ := map[string]Item{}
	for key, item := range items {
		if known, ok := b.known[key]; !ok && !item.gone() || ok && known != item.hash() {
			differ[key] = item
		}
	}
	for key := range b.known {
		if _, ok := items[key]; !ok {
			differ[key] = Item{}
		}
	}
	for key := range b.heard {
		delete(differ, key)
	}
	b.heard = nil
	b.note(differ)
	if b.read {
		b.queue(differ)
	}
	b.read = true
}

// note remembers items as known. The caller has mu.
func (b *subscription) note(items map[string]Item) {
	for key, item := range items {
		if item.gone() {
			delete(b.known, key)
		} else {
			b.known[key] = item.hash()
		}
	}
}

// renew begins anew at the store that is in service now.
func (b *subscription) renew() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.again != nil {
		b.again()
	}
}

// change keeps what the store tells until it is taken.
func (b *subscription) change(items map[string]Item) {
	items = textual(items)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.note(items)
	if b.heard != nil {
		for key := range items {
			b.heard[key] = struct{}{}
		}
	}
	b.queue(items)
}

// queue keeps items until they are taken. The caller has mu.
func (b *subscription) queue(items map[string]Item) {
	if len(items) == 0 {
		return
	}
	if b.changed == nil {
		b.changed = make(map[string]Item, len(items))
	}
	for _, key := range slices.Sorted(maps.Keys(items)) {
		if _, waits := b.changed[key]; !waits {
			b.turns = append(b.turns, key)
		}
		b.changed[key] = items[key]
	}
	select {
	case b.arrived <- struct{}{}:
	default:
	}
}

// next takes the item whose turn it is.
func (b *subscription) next() (key string, item Item, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.turns) == 0 {
		b.changed, b.turns = nil, nil
		return "", Item{}, false
	}
	key, b.turns = b.turns[0], b.turns[1:]
	item = b.changed[key]
	delete(b.changed, key)
	return key, item, true
}

// deliver hands changes over until the subscription ends.
func (b *subscription) deliver(send func(id string, items map[string]Item) error) error {
	for {
		select {
		case <-b.ctx.Done():
			return nil
		case <-b.arrived:
		}
		for key, item, ok := b.next(); ok && b.ctx.Err() == nil; key, item, ok = b.next() {
			if err := send(b.id, map[string]Item{key: item}); err != nil {
				return err
			}
		}
	}
}
