package memory

import (
	"testing"

	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/pubsub/pubsubtest"
)

func openBroker(t testing.TB, properties map[string]string) pubsub.Broker {
	t.Helper()
	b, err := NewPubSub(t.Context(), componentstest.Spec("pubsub.in-memory", properties))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestBroker holds the broker to the contract, one message after the other and many at once.
func TestBroker(t *testing.T) {
	for concurrency, ordered := range map[string]bool{"1": true, "8": false} {
		t.Run("concurrency "+concurrency, func(t *testing.T) {
			pubsubtest.Run(t, func(t *testing.T, _ string) pubsub.Broker {
				return openBroker(t, map[string]string{"concurrency": concurrency, "redeliverInterval": "5ms"})
			}, pubsubtest.Options{Ordered: ordered})
		})
	}
}
