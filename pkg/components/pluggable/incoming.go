package pluggable

import (
	"context"
	"time"
)

// incoming receives from a stream, one message ahead of its reader, so that the reader can stop waiting.
type incoming[M any] struct {
	cut      context.CancelFunc
	messages chan M
	// over is closed when the stream has ended; err is why.
	over chan struct{}
	err  error
}

// receive begins to receive; live and cut are the stream's context. The caller ends it.
func receive[M any](live context.Context, cut context.CancelFunc, recv func() (M, error)) *incoming[M] {
	i := &incoming[M]{cut: cut, messages: make(chan M), over: make(chan struct{})}
	go i.run(live, recv)
	return i
}

func (i *incoming[M]) run(live context.Context, recv func() (M, error)) {
	defer close(i.over)
	for {
		message, err := recv()
		if err != nil {
			i.err = err
			return
		}
		select {
		case i.messages <- message:
		case <-live.Done():
			i.err = live.Err()
			return
		}
	}
}

// next is the next message; ok is false, without an error, when ctx has ended.
func (i *incoming[M]) next(ctx context.Context) (message M, ok bool, err error) {
	if ctx.Err() != nil {
		return message, false, nil
	}
	select {
	case message = <-i.messages:
		return message, true, nil
	case <-i.over:
		return message, false, i.err
	case <-ctx.Done():
		return message, false, nil
	}
}

// farewell is how long the process has to end the stream when it has been told that no more answers come: what was
// answered last reaches it in that time.
const farewell = time.Second

// end closes our side of the stream, waits until the process closes its own, cuts the stream where it does not, and
// waits until nobody receives any more. What still comes is left to the process.
func (i *incoming[M]) end(closeSend func() error) {
	_ = closeSend()
	timer := time.AfterFunc(farewell, i.cut)
	defer timer.Stop()
	defer i.cut()
	for {
		select {
		case <-i.messages:
		case <-i.over:
			return
		}
	}
}
