package redis

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/go-redis/redis/v8"

	"github.com/daprd/daprd/pkg/configuration"
)

const (
	// quiet is how long a server may say nothing before it is asked whether it is there.
	quiet = 10 * time.Second
	// wanted are the notifications that a watch needs: by key, of deletes and the like, strings, expiry, eviction.
	wanted = "Kg$xe"
)

// watch brings the changes of keys, of all for none, to one subscriber.
type watch struct {
	*configurationStore
	keys    []string
	changed func(map[string]configuration.Item)
}

// Subscribe listens to the server's keyspace notifications. Each event of a key makes it read the key and tell its
// item, changed or not.
func (s *configurationStore) Subscribe(ctx context.Context, keys []string, _ map[string]string, established func(),
	changed func(map[string]configuration.Item),
) error {
	if _, clustered := s.client.UniversalClient.(*redis.ClusterClient); clustered {
		return errors.New("configuration.redis cannot subscribe in a Redis cluster, whose nodes tell only of their own keys: " +
			"keep configuration on a single server or behind Sentinels")
	}
	w := &watch{configurationStore: s, keys: keys, changed: changed}
	err := w.follow(ctx, established)
	if ctx.Err() != nil {
		return nil
	}
	return s.client.failed(err)
}

// follow listens until the connection is lost or ctx ends.
func (w *watch) follow(ctx context.Context, established func()) error {
	w.notify(ctx)
	events, confirmations := w.listen(ctx)
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
func (w *watch) listen(ctx context.Context) (events *redis.PubSub, confirmations int) {
	if len(w.keys) == 0 {
		return w.client.PSubscribe(ctx, w.channel+"*"), 1
	}
	channels := make([]string, len(w.keys))
	for i, key := range w.keys {
		channels[i] = w.channel + key
	}
	return w.client.Subscribe(ctx, channels...), len(channels)
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
	texts, err := w.read(ctx, []string{key})
	if err != nil {
		return err
	}
	w.changed(map[string]configuration.Item{key: item(texts[key])})
	return nil
}

// notify switches the server's notifications on, those that others need included. Servers that do not allow it, as
// hosted ones, have them switched on by whoever runs them.
func (w *watch) notify(ctx context.Context) {
	const name = "notify-keyspace-events"
	got, err := w.client.ConfigGet(ctx, name).Result()
	if err == nil && len(got) == 2 {
		flags, _ := got[1].(string)
		if missing := lacking(flags); missing != "" {
			err = w.client.ConfigSet(ctx, name, flags+missing).Err()
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
