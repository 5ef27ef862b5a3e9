package redis

import (
	"context"
	"errors"
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
	// looks is how often a subscription in a cluster asks which nodes are its masters.
	looks = 10 * time.Second
	// quiet is how long a server may say nothing before it is asked whether it is there.
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
	ticker := time.NewTicker(s.look)
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
	w.notify(ctx, node)
	events, confirmations := w.listen(ctx, node)
	defer events.Close()
	// The library does not look at ctx while it waits.
	defer context.AfterFunc(ctx, func() { _ = events.Close() })()
	for range confirmations {
		if _, err := events.ReceiveTimeout(ctx, quiet); err != nil {
			return err
		}
	}
	established()
	for {
		key, err := w.await(ctx, events)
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

// await gives the key of the next event.
func (w *watch) await(ctx context.Context, events *redis.PubSub) (key string, err error) {
	for asked := false; ; {
		event, err := events.ReceiveTimeout(ctx, quiet)
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

// notify switches the server's notifications on, those that others need included. Servers that do not allow it, as
// hosted ones, have them switched on by whoever runs them.
func (w *watch) notify(ctx context.Context, node redis.UniversalClient) {
	const name = "notify-keyspace-events"
	got, err := node.ConfigGet(ctx, name).Result()
	if err == nil && len(got) == 2 {
		flags, _ := got[1].(string)
		if missing := lacking(flags); missing != "" {
			err = node.ConfigSet(ctx, name, flags+missing).Err()
		}
	}
	if err != nil && isAnswer(err) {
		w.log.Warnf("%s: the server's %s cannot be set: if it is not at least %s, changes are not seen: %v", w.label, name, wanted, err)
	}
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
