package redis

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	logrustest "github.com/sirupsen/logrus/hooks/test"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/pubsub"
)

// An outage is told in one line when it begins and one when it ends, by the component's name, without a password.
func TestOutageIsTold(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "hush")
	log, hook := logrustest.NewNullLogger()
	manifest := spec(server.Address, append(brisk, "redisPassword", "hush")...)
	manifest.Log = log
	opened, err := NewPubSub(t.Context(), manifest)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.(*broker).Close()
	store := openConfiguration(t, manifest)
	hook.Reset()
	messages, deliver := collect()
	subscribe(t, opened, "t", pubsub.Batch{}, deliver)
	changes, _ := follow(t, store, "a")
	server.Kill()
	lines := func(part string) (n int) {
		for _, entry := range hook.AllEntries() {
			if strings.Contains(entry.Message, "hush") {
				t.Errorf("a line with the password: %s", entry.Message)
			}
			if strings.HasPrefix(entry.Message, part) {
				n++
			}
		}
		return n
	}
	const topic, config = "component test (state.redis/v1): topic t: messages are read again, after ", "subscriptions to configuration store config are made again, after "
	parts := []string{"component test (state.redis/v1): topic t: messages cannot be read, trying again until they can: redis at " + server.Address,
		"subscriptions to configuration store config are lost and tried again: redis at " + server.Address}
	for _, part := range parts {
		redistest.Eventually(t, part, func() error {
			if lines(part) == 0 {
				return errors.New("no line")
			}
			return nil
		})
	}
	server.Restart(t)
	redistest.Eventually(t, "the watch is back", func() error {
		if lines(config) == 0 {
			return errors.New("no line")
		}
		return nil
	})
	publish(t, opened, "t", "m")
	receive(t, messages, 1)
	put(t, direct(t, server.Address, "hush"), "a", "1")
	<-changes
	for _, part := range append(parts, topic, config) {
		if n := lines(part); n != 1 {
			t.Errorf("%d lines of %q", n, part)
		}
	}
}

// No error of a component at its start holds the password.
func TestErrorsWithoutPasswords(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "right")
	type factory func(context.Context, *components.Spec) (io.Closer, error)
	for name, create := range map[string]factory{
		"pubsub": func(ctx context.Context, s *components.Spec) (io.Closer, error) { return closer(NewPubSub(ctx, s)) },
		"bindings": func(ctx context.Context, s *components.Spec) (io.Closer, error) {
			return closer(NewOutputBinding(ctx, s))
		},
		"configuration": func(ctx context.Context, s *components.Spec) (io.Closer, error) {
			return closer(NewConfiguration(ctx, s))
		},
		"lock": func(ctx context.Context, s *components.Spec) (io.Closer, error) { return closer(NewLock(ctx, s)) },
	} {
		_, err := create(t.Context(), spec(server.Address, "redisUsername", "someone", "redisPassword", "wrong-one"))
		if err == nil || !strings.Contains(err.Error(), "(check redisUsername and redisPassword)") || strings.Contains(err.Error(), "wrong-one") {
			t.Errorf("%s: error %v", name, err)
		}
		c, err := create(t.Context(), spec(server.Address, "redisPassword", "right"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if pinger, ok := c.(interface{ Ping(context.Context) error }); !ok || pinger.Ping(t.Context()) != nil {
			t.Errorf("%s does not answer a ping", name)
		}
		if err := c.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func closer(instance any, err error) (io.Closer, error) {
	if err != nil {
		return nil, err
	}
	return instance.(io.Closer), nil
}
