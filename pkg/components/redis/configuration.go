package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-redis/redis/v8"
	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/configuration"
)

// configurationSettings is the metadata of configuration.redis.
type configurationSettings struct {
	connection
	legacy
}

// configurationStore reads plain keys of the form value||version, as Dapr's users write them.
type configurationStore struct {
	client *client
	// channel begins the name of the channel on which the server tells changes of a key: it has the database's number.
	channel string
	// label names the component in lines of the log.
	label string
	log   logrus.FieldLogger
	// quiet is how often a subscription looks whether what it depends on is there: the server and its notifications,
	// of a cluster the masters.
	quiet time.Duration
	// warned says that nobody knows whether the notifications are on.
	warned sync.Once
}

// chunk is how many keys are read in one round trip.
const chunk = 500

// NewConfiguration is the factory of configuration.redis.
func NewConfiguration(ctx context.Context, spec *components.Spec) (configuration.Store, error) {
	settings := configurationSettings{connection: connection{MaxRetryInterval: 2 * time.Second}}
	if err := components.Decode(spec, &settings); err != nil {
		return nil, err
	}
	settings.adopt(&settings.connection, spec)
	if settings.Type == "cluster" {
		settings.DB = 0 // a cluster has no other
	}
	client, err := dial(ctx, &settings.connection, spec.Log)
	if err != nil {
		return nil, fmt.Errorf("redis configuration: %w", err)
	}
	return &configurationStore{client: client, channel: fmt.Sprintf("__keyspace@%d__:", settings.DB), label: label(spec), log: spec.Log, quiet: quiet}, nil
}

// Get reads keys. Those without a value, and those of other types, are left out: the database may hold other things.
func (s *configurationStore) Get(ctx context.Context, keys []string, _ map[string]string) (map[string]configuration.Item, error) {
	texts, err := s.read(ctx, keys)
	if err != nil {
		return nil, s.client.failed(err)
	}
	items := make(map[string]configuration.Item, len(texts))
	for key, text := range texts {
		items[key] = item(text)
	}
	return items, nil
}

// item splits value||version. What follows a second || is dropped.
func item(text string) configuration.Item {
	value, rest, _ := strings.Cut(text, "||")
	version, _, _ := strings.Cut(rest, "||")
	return configuration.Item{Value: value, Version: version}
}

// read gives the texts of keys, of all for none, where they are not empty.
func (s *configurationStore) read(ctx context.Context, keys []string) (map[string]string, error) {
	all := len(keys) == 0
	if all {
		var err error
		if keys, err = s.keys(ctx); err != nil {
			return nil, err
		}
	}
	texts := make(map[string]string, len(keys))
	for len(keys) > 0 {
		n := min(chunk, len(keys))
		if err := s.readChunk(ctx, keys[:n], texts, !all); err != nil {
			return nil, err
		}
		keys = keys[n:]
	}
	return texts, nil
}

// readChunk reads each key by itself, in one round trip: in a cluster they are on several nodes. asked says that
// somebody wants these keys, and is told where they cannot be items.
func (s *configurationStore) readChunk(ctx context.Context, keys []string, into map[string]string, asked bool) error {
	pipe := s.client.Pipeline()
	answers := make([]*redis.StringCmd, len(keys))
	for i, key := range keys {
		answers[i] = pipe.Get(ctx, key)
	}
	_, _ = pipe.Exec(ctx)
	for i, answer := range answers {
		switch text, err := answer.Result(); {
		case errors.Is(err, redis.Nil):
		case err != nil && isAnswer(err) && strings.HasPrefix(err.Error(), "WRONGTYPE"):
			if asked {
				s.log.Warnf("%s: key %s is no configuration item: want a string of the form value||version", s.label, keys[i])
			}
		case err != nil:
			return fmt.Errorf("key %s: %w", keys[i], err)
		case text != "":
			into[keys[i]] = text
		}
	}
	return nil
}

// keys are all that there are, in a cluster on all nodes. SCAN does not hold the server up, as KEYS would.
func (s *configurationStore) keys(ctx context.Context) ([]string, error) {
	cluster, clustered := s.client.UniversalClient.(*redis.ClusterClient)
	if !clustered {
		return scan(ctx, s.client)
	}
	found := make(chan []string)
	failed := make(chan error, 1)
	go func() {
		defer close(found)
		failed <- cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			keys, err := scan(ctx, node)
			found <- keys
			return err
		})
	}()
	var all []string
	for keys := range found {
		all = append(all, keys...)
	}
	return all, <-failed
}

// scan lists the strings of one node. A key that is named twice is read twice, no more.
func scan(ctx context.Context, node redis.Cmdable) (all []string, err error) {
	for cursor := uint64(0); ; {
		var keys []string
		if keys, cursor, err = node.ScanType(ctx, cursor, "", chunk, "string").Result(); err != nil {
			return nil, err
		}
		all = append(all, keys...)
		if cursor == 0 {
			return all, nil
		}
	}
}

// Ping asks whether the server answers.
func (s *configurationStore) Ping(ctx context.Context) error { return s.client.alive(ctx) }

// Close ends the connections.
func (s *configurationStore) Close() error { return s.client.Close() }
