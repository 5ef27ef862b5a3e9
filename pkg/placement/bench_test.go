package placement_test

import (
	"testing"

	"github.com/daprd/daprd/bench/crowd"
	"github.com/daprd/daprd/pkg/actors/placement/placementtest"
)

// BenchmarkDissemination is a round of 500 sidecars, a tenth of them without types, from a report of new types to the
// last unlock. Their part is in the figures, but for the reading of tables.
func BenchmarkDissemination(b *testing.B) {
	server := placementtest.Serve(b, "127.0.0.1:0", placementtest.Trusted)
	all, err := crowd.Gather(b.Context(), server.Address, 500)
	if err != nil {
		b.Fatal(err)
	}
	defer all.Close()
	for b.Loop() {
		if err := all.Round(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
