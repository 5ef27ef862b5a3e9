package redis

import (
	"testing"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/pubsub/pubsubtest"
)

// TestBroker holds the broker to the contract on a real server, which is killed and started again under load.
func TestBroker(t *testing.T) {
	for concurrency, ordered := range map[string]bool{"1": true, "10": false} {
		t.Run("concurrency "+concurrency, func(t *testing.T) {
			server := redistest.Start(t, durable...)
			open := func(t *testing.T, group string) pubsub.Broker {
				s := spec(server.Address, "processingTimeout", "5s", "redeliverInterval", "20ms", "concurrency", concurrency, "consumerID", group)
				s.Type = "pubsub.redis"
				b, err := NewPubSub(t.Context(), s)
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			pubsubtest.Run(t, open, pubsubtest.Options{Ordered: ordered, Groups: true, Keeps: true, Outage: func(t *testing.T) func() {
				server.Kill()
				return func() { server.Restart(t) }
			}})
		})
	}
}
