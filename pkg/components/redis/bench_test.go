package redis

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/state"
)

func BenchmarkState(b *testing.B) {
	store := openState(b, redistest.Start(b).Address)
	value := make([]byte, 1024)
	keys := make([]string, 1024)
	for i := range keys {
		keys[i] = "app||key-" + strconv.Itoa(i)
		if err := store.Set(b.Context(), &state.SetRequest{Key: keys[i], Value: value}); err != nil {
			b.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		run  func(key string) error
	}{
		{"get", func(key string) error {
			_, err := store.Get(b.Context(), &state.GetRequest{Key: key})
			return err
		}},
		{"set", func(key string) error {
			return store.Set(b.Context(), &state.SetRequest{Key: key, Value: value})
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if err := c.run(keys[i%len(keys)]); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkPubSub publishes and delivers, one after the other and both at once.
func BenchmarkPubSub(b *testing.B) {
	broker := openPubSub(b, redistest.Start(b).Address)
	data := make([]byte, 1024)
	b.Run("publish", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := broker.Publish(b.Context(), &pubsub.PublishRequest{Topic: "p", Data: data}); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("deliver", func(b *testing.B) {
		topic := strconv.Itoa(b.N)
		reqs := make([]pubsub.PublishRequest, b.N)
		for i := range reqs {
			reqs[i] = pubsub.PublishRequest{Topic: topic, Data: data}
		}
		for len(reqs) > 0 {
			n := min(1000, len(reqs))
			if errs := broker.PublishBulk(b.Context(), reqs[:n]); errs != nil {
				b.Fatal(errs)
			}
			reqs = reqs[n:]
		}
		var left atomic.Int64
		left.Store(int64(b.N))
		over := make(chan struct{})
		b.ReportAllocs()
		b.ResetTimer()
		end := subscribe(b, broker, topic, pubsub.Batch{}, each(func(*pubsub.Message) error {
			if left.Add(-1) == 0 {
				close(over)
			}
			return nil
		}))
		<-over
		end()
	})
}
