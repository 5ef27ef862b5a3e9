package configuration

import (
	"context"
	"errors"
	"fmt"
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
	// firstPause and longestPause bound the pauses of a subscription whose store is lost.
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
)

var (
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

// renew begins anew at the store that is in service now.
func (b *subscription) renew() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.again != nil {
		b.again()
	}
}
