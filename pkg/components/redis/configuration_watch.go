package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-redis/redis/v8"

	"github.com/daprd/daprd/pkg/configuration"
)

const (
	// quiet is how long a server may say nothing, and how often a subscription looks whether all is well.
	quiet = 10 * time.Second
	// wanted are the notifications that a watch needs: by key, of deletes and the like, strings, expiry, eviction.
	wanted = "Kg$xe"
)

// watch brings the changes of keys, of all for none, to one subscriber.
type watch struct {
	*configurationStore
	keys []string
	// telling makes each read of a key and its telling one step: while a key moves from node to node both tell of it.
	telling sync.Mutex
	changed func(map[string]configuration.Item)
}

// nodes are servers by their addresses.
type nodes map[string]redis.UniversalClient

// errMoved ends a subscription in a cluster whose slots have gone to other masters.
var errMoved = errors.New("the masters of the Redis cluster have changed")

// Subscribe listens to the keyspace notifications of the server, in a cluster of every master: each tells of its own keys
// alone. Each event of a key makes it read the key and tell its item, changed or not.
func (s *configurationStore) Subscribe(ctx context.Context, keys []string, _ map[string]string, established func(),
	changed func(map[string]configuration.Item),
) error {
	masters, err := s.masters(ctx)
	if err != nil {
		return s.client.failed(err)
	}
	w := &watch{configurationStore: s, keys: keys, changed: changed}
	all, end := context.WithCancelCause(ctx)
	defer end(nil)
	var (
		following sync.WaitGroup
		missing   atomic.Int32
	)
	missing.Store(int32(len(masters)))
	for _, node := range masters {
		following.Go(func() {
			end(w.follow(all, node, func() {
				if missing.Add(-1) == 0 {
					established()
				}
			}))
		})
	}
	if _, clustered := s.client.UniversalClient.(*redis.ClusterClient); clustered {
		following.Go(func() { end(s.settled(all, masters)) })
	}
	following.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return s.client.failed(context.Cause(all))
}

// masters are the servers that have the keys.
func (s *configurationStore) masters(ctx context.Context) (nodes, error) {
	cluster, clustered := s.client.UniversalClient.(*redis.ClusterClient)
	if !clustered {
		return nodes{s.client.at: s.client}, nil
	}
	var mu sync.Mutex
	found := nodes{}
	err := cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		found[node.Options().Addr] = node
		return nil
	})
	if err == nil && len(found) == 0 {
		err = errors.New("no node of the Redis cluster has slots")
	}
	return found, err
}

// settled waits until others than masters have the slots. While the cluster cannot be asked nothing is known: a node
// that is lost tells by its connection.
func (s *configurationStore) settled(ctx context.Context, masters nodes) error {
	ticker := time.NewTicker(s.quiet)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		if now, err := s.masters(ctx); err == nil && !maps.Equal(now, masters) {
			return errMoved
		}
	}
}

// follow listens to one server until the connection is lost or ctx ends.
func (w *watch) follow(ctx context.Context, node redis.UniversalClient, established func()) error {
	if err := w.notify(ctx, node); err != nil {
		return err
	}
	events, confirmations := w.listen(ctx, node)
	defer events.Close()
	// The library does not look at ctx while it waits.
	defer context.AfterFunc(ctx, func() { _ = events.Close() })()
	for range confirmations {
		if _, err := events.ReceiveTimeout(ctx, quiet); err != nil {
			return w.denied(err)
		}
	}
	established()
	for {
		key, err := w.await(ctx, node, events)
		if err == nil {
			err = w.tell(ctx, key)
		}
		if err != nil {
			return err
		}
	}
}

// listen opens a connection of its own. The server confirms each name.
func (w *watch) listen(ctx context.Context, node redis.UniversalClient) (events *redis.PubSub, confirmations int) {
	if len(w.keys) == 0 {
		return node.PSubscribe(ctx, w.channel+"*"), 1
	}
	channels := make([]string, len(w.keys))
	for i, key := range w.keys {
		channels[i] = w.channel + key
	}
	return node.Subscribe(ctx, channels...), len(channels)
}

// errOff ends a subscription whose notifications somebody has switched off: it is made anew, which switches them on.
var errOff = errors.New("somebody has changed the server's " + flag)

// await gives the key of the next event.
func (w *watch) await(ctx context.Context, node redis.UniversalClient, events *redis.PubSub) (key string, err error) {
	for asked := false; ; {
		event, err := events.ReceiveTimeout(ctx, w.quiet)
		var failure net.Error
		switch {
		case err == nil:
			asked = false
			if message, ok := event.(*redis.Message); ok {
				return strings.TrimPrefix(message.Channel, w.channel), nil
			}
		case asked || !errors.As(err, &failure) || !failure.Timeout():
			return "", err
		default:
			asked = true
			if err := events.Ping(ctx); err != nil {
				return "", err
			}
			flags, told, err := flagsOf(ctx, node)
			if err == nil && told && blind(flags) {
				err = errOff
			}
			if err != nil {
				return "", err
			}
		}
	}
}

// tell reads a key and hands its item on; a key that is gone, or is no item any more, as an empty one.
func (w *watch) tell(ctx context.Context, key string) error {
	w.telling.Lock()
	defer w.telling.Unlock()
	texts, err := w.read(ctx, []string{key})
	if err != nil {
		return err
	}
	w.changed(map[string]configuration.Item{key: item(texts[key])})
	return nil
}

// denied adds what to do about a subscription that the server's ACL forbids.
func (w *watch) denied(err error) error {
	switch {
	case !isAnswer(err) || !strings.HasPrefix(err.Error(), "NOPERM"):
		return err
	case strings.Contains(err.Error(), "channel"):
		return fmt.Errorf("%w (the ACL user must be allowed the channels of the notifications: ACL SETUSER … &%s*)", err, w.channel)
	}
	return fmt.Errorf("%w%s", err, advice(err, false))
}

// flag is the server's setting of its notifications.
const flag = "notify-keyspace-events"

// notify switches the server's notifications on, those that others need included. It is an error where the server is
// known not to tell of changes and does not let that be switched on. What hosted servers tell of, which forbid the
// question, nobody knows.
func (w *watch) notify(ctx context.Context, node redis.UniversalClient) error {
	const remedy = "whoever runs the server sets it, or allows the ACL user +config|get and +config|set"
	flags, told, err := flagsOf(ctx, node)
	if err != nil {
		return err
	}
	if !told {
		w.warned.Do(func() {
			w.log.Warnf("%s: the server does not show its %s: if it is not at least %s, changes are not seen; %s", w.label, flag, wanted, remedy)
		})
		return nil
	}
	missing := lacking(flags)
	if missing == "" {
		return nil
	}
	err = node.ConfigSet(ctx, flag, flags+missing).Err()
	switch {
	case err == nil || !isAnswer(err):
		return err
	case blind(flags):
		return fmt.Errorf("changes would not be seen: the server's %s is %q, must be at least %s, and cannot be set (%w); %s", flag, flags, wanted, err, remedy)
	}
	w.warned.Do(func() {
		w.log.Warnf("%s: the server's %s is %q, must be at least %s for every change to be seen, and cannot be set: %v; %s", w.label, flag, flags, wanted, err, remedy)
	})
	return nil
}

// flagsOf asks for the server's notifications; told is false where it does not answer that.
func flagsOf(ctx context.Context, node redis.UniversalClient) (flags string, told bool, err error) {
	got, err := node.ConfigGet(ctx, flag).Result()
	switch {
	case err != nil && !isAnswer(err):
		return "", false, err
	case err != nil || len(got) != 2:
		return "", false, nil
	}
	flags, told = got[1].(string)
	return flags, told, nil
}

// lacking are the flags that are wanted and not there. A stands for all kinds of events.
func lacking(flags string) (missing string) {
	for _, flag := range wanted {
		if !strings.ContainsRune(flags, flag) && (flag == 'K' || !strings.Contains(flags, "A")) {
			missing += string(flag)
		}
	}
	return missing
}

// blind says that with flags not even a write is told.
func blind(flags string) bool { return strings.ContainsAny(lacking(flags), "K$") }
