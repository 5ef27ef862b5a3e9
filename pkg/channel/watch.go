package channel

import (
	"context"
	"sync"
	"time"
)

// watchAfter is how old a call is when its context begins to be watched. Most are over by then, and a
// timer that is stopped costs a tenth of a context's bookkeeping, and no memory.
const watchAfter = 5 * time.Millisecond

// watch closes a call's connection when the call's context ends. It keeps the context for the length of
// the call only: the timer has no other way to it.
type watch struct {
	timer *time.Timer

	mu   sync.Mutex
	ctx  context.Context
	conn *conn
	stop func() bool
}

func (w *watch) start(ctx context.Context, c *conn) {
	if ctx.Done() == nil {
		return
	}
	w.mu.Lock()
	w.ctx, w.conn = ctx, c
	w.mu.Unlock()
	if w.timer == nil {
		w.timer = time.AfterFunc(watchAfter, w.begin)
	} else {
		w.timer.Reset(watchAfter)
	}
}

// begin may come late, from the timer of a call before; then this call's watch just begins early.
func (w *watch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil && w.stop == nil {
		w.stop = context.AfterFunc(w.ctx, w.conn.abort)
	}
}

// end says whether the connection is untouched, and will be.
func (w *watch) end() bool {
	if w.timer == nil {
		return true
	}
	w.timer.Stop()
	w.mu.Lock()
	stop := w.stop
	w.ctx, w.conn, w.stop = nil, nil, nil
	w.mu.Unlock()
	return stop == nil || stop()
}
