package pluggable_test

import (
	"testing"

	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/components/pluggable/pluggabletest"
	"github.com/daprd/daprd/pkg/components/redis"
	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/pubsub/pubsubtest"
	"github.com/daprd/daprd/pkg/ready"
)

// TestBroker holds a broker in a process of its own to the contract. What it keeps is in Redis.
func TestBroker(t *testing.T) {
	server := redistest.Start(t)
	pubsubtest.Run(t, func(t *testing.T, group string) pubsub.Broker {
		inner, err := redis.NewPubSub(t.Context(), componentstest.Spec("pubsub.redis", map[string]string{"redisHost": server.Address, "redisPassword": "",
			"processingTimeout": "5s", "redeliverInterval": "20ms", "consumerID": group}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ready.Close(inner) })
		w := newWorld(t)
		w.serve(t, "streams.sock", pluggabletest.Parts{Broker: inner})
		w.discover(t)
		return made[pubsub.Broker](t, w.set.PubSub, "pubsub.streams")
	}, pubsubtest.Options{Groups: true, Keeps: true, Load: 2000})
}
