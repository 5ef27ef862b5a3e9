package actors_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/components/memory"
)

// silent is an application that answers at once.
type silent struct{ host }

func (*silent) CallActor(context.Context, string, string, string, *channel.Request) (*channel.Response, error) {
	return &channel.Response{Status: 200}, nil
}

// BenchmarkInvoke is a call of one of 10,000 actors of the own application, without the transports.
func BenchmarkInvoke(b *testing.B) {
	for _, reentrant := range []bool{false, true} {
		b.Run(fmt.Sprint("reentrant=", reentrant), func(b *testing.B) {
			kept, err := memory.NewState(b.Context(), componentstest.Spec("state.in-memory", nil))
			if err != nil {
				b.Fatal(err)
			}
			m := beginWith(b, kept, channel.ActorSettings{Reentrant: reentrant}, &silent{})
			ids := make([]string, 10_000)
			for i := range ids {
				ids[i] = fmt.Sprint("actor-", i)
			}
			header := channel.Header{{Name: "User-Agent", Value: "bench"}, {Name: "Accept", Value: "*/*"}}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				res, err := m.Invoke(b.Context(), "T", ids[i%len(ids)], "method", &channel.Request{Header: header})
				if err != nil {
					b.Fatal(err)
				}
				res.Close()
			}
		})
	}
}
