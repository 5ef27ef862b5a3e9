package resiliency_test

import (
	"context"
	"testing"

	"github.com/daprd/daprd/pkg/resiliency"
)

// BenchmarkGuard is what a guard adds to an operation that does nothing.
func BenchmarkGuard(b *testing.B) {
	const all = `spec:
  policies:
    timeouts: {t: 1s}
    retries: {again: {duration: 1s}}
    circuitBreakers: {fuse: {trip: consecutiveFailures > 5}}
  targets:
    components:
      other: {outbound: {retry: again}}
      timeout: {outbound: {timeout: t}}
      retry: {outbound: {retry: again}}
      breaker: {outbound: {circuitBreaker: fuse}}
      all: {outbound: {timeout: t, retry: again, circuitBreaker: fuse}}
`
	p := in(b, all)
	ctx := b.Context()
	operation := func(name string, guard *resiliency.Guard) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				_, _ = resiliency.Do(ctx, guard, func(context.Context) (int, error) { n++; return n, nil })
			}
		})
	}
	operation("nil", nil)
	operation("no policies", resiliency.New().Component(resiliency.Statestore, "store", resiliency.Outbound))
	operation("none for it", p.Component(resiliency.Statestore, "store", resiliency.Outbound))
	for _, name := range []string{"timeout", "retry", "breaker", "all"} {
		operation(name, p.Component(resiliency.Statestore, name, resiliency.Outbound))
	}
	b.Run("app without policies", func(b *testing.B) {
		none := resiliency.New()
		for b.Loop() {
			_ = none.App("cart")
		}
	})
	b.Run("app with policies for others", func(b *testing.B) {
		for b.Loop() {
			_ = p.App("cart")
		}
	})
}
