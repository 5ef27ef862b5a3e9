package runtime

import (
	"context"
	"time"
)

// aftermath is how long the start has effects: the garbage that it left is collected, the name is announced again.
const aftermath = 2 * time.Second

// shrink gives the memory back that only the start needed: at once, and again when its aftermath is over or not at all, if
// ctx ends before.
func shrink(ctx context.Context) {
	giveBackStart()
	select {
	case <-ctx.Done():
	case <-time.After(aftermath):
		giveBackStart()
	}
}
