package redis

import (
	"strconv"
	"testing"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
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
