package grpc

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/messaging"
	"github.com/daprd/daprd/pkg/proto/wire"
	"github.com/daprd/daprd/pkg/resiliency"
)

// streamHeader in the metadata of a proxied call, if it is true, says that it is a stream: its messages are never sent
// again, and a timeout holds for opening it.
const streamHeader = "dapr-stream"

func isStream(ctx context.Context) bool {
	values := metadata.ValueFromIncomingContext(ctx, streamHeader)
	return len(values) > 0 && config.Truthy(values[0])
}

// open opens a call at its target.
type open func(ctx context.Context) (*messaging.Stream, error)

// guarded relays a call under the policies of its target. cancel ends ctx.
func (p *Proxy) guarded(ctx context.Context, cancel context.CancelFunc, from grpc.ServerStream, guard *resiliency.Guard, open open) error {
	full, _ := grpc.MethodFromServerStream(from)
	method := strings.TrimPrefix(full, "/")
	if !isStream(from.Context()) {
		c := &replayed{open: open, requests: newReplay()}
		defer func() {
			cancel() // a message that the target does not take holds up nothing
			c.requests.end()
		}()
		p.uploads.Go(func() { c.requests.read(from, cancel) })
		return c.answer(from, guard.Call(ctx, method, c.attempt))
	}
	var to *messaging.Stream
	err := guard.Call(ctx, method, func(ctx context.Context) (err error) {
		to, err = open(ctx)
		return err
	})
	if err != nil {
		return refusedBy(err)
	}
	return p.pass(from, to, cancel)
}

// refusedBy is the answer to a call that the policies have ended, or that never reached its target.
func refusedBy(err error) error {
	if code, ok := resiliency.Code(err); ok {
		return status.Error(code, err.Error())
	}
	return raw(err)
}

// sentOn is the failure of an attempt that cannot be made again: more was sent than is kept.
type sentOn struct{ error }

func (e sentOn) Final() bool   { return true }
func (e sentOn) Unwrap() error { return e.error }

// raw is the error as the target gave it.
func raw(err error) error {
	var sent sentOn
	if errors.As(err, &sent) {
		return sent.error
	}
	return err
}

// replayed is a call whose request may be sent again, and the last attempt at it. What is sent again is the first message:
// once a second one was sent, or the target has answered with a message, the call stands as it is. A timeout holds up to
// the first message of the answer.
type replayed struct {
	open     open
	requests *replay

	to     *messaging.Stream
	header metadata.MD
	// first is the first message of the answer, if the call is not over without one.
	first wire.Frame
	over  bool
}

// attempt makes the call up to the first message of its answer, or its end.
func (c *replayed) attempt(ctx context.Context) error {
	if c.to != nil {
		c.to.Done(nil) // what it ended with is known, and was not the connection's doing
		c.to = nil
	}
	to, err := c.open(ctx)
	if err != nil {
		return err
	}
	c.to = to
	c.requests.begin(to)
	c.header, _ = to.Header()
	err = to.RecvMsg(&c.first)
	switch {
	case err == nil:
		return nil
	case err == io.EOF:
		c.over = true
		return nil
	case !c.requests.leave():
		return sentOn{err}
	}
	return err
}

// answer passes on what the target answered, or why a policy has ended the call.
func (c *replayed) answer(from grpc.ServerStream, failure error) (err error) {
	if c.to == nil {
		return refusedBy(failure)
	}
	defer func() { c.to.Done(err) }()
	defer c.first.Free()
	if _, ended := resiliency.Code(failure); ended {
		return refusedBy(failure)
	}
	if err := sendHeader(from, c.header); err != nil {
		return err
	}
	if failure == nil && !c.over {
		if err := from.SendMsg(&c.first); err != nil {
			return err
		}
		return receive(from, c.to)
	}
	from.SetTrailer(answered(c.to.Trailer()))
	return raw(failure)
}

// replay sends what the client sends to the attempt that is under way, and its first message again to the next one.
type replay struct {
	mu      sync.Mutex
	changed sync.Cond
	to      grpc.ClientStream // nil between attempts
	first   wire.Frame
	sent    int
	closed  bool // the client has sent all
	ended   bool
}

func newReplay() *replay {
	r := &replay{}
	r.changed.L = &r.mu
	return r
}

// begin sends what was sent before to the next attempt.
func (r *replay) begin(to grpc.ClientStream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sent > 0 {
		_ = to.SendMsg(&r.first) // the reason of a failure is what the attempt receives
	}
	if r.closed {
		_ = to.CloseSend()
	}
	r.to = to
	r.changed.Broadcast()
}

// leave ends an attempt, and says whether another one can be made.
func (r *replay) leave() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = nil
	return r.sent <= 1
}

// end ends the sending: the call is over.
func (r *replay) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.first.Free()
	r.changed.Broadcast()
}

// read takes the client's messages until the call is over. The messages after the first wait for an attempt.
func (r *replay) read(from grpc.ServerStream, cancel context.CancelFunc) {
	for {
		var frame wire.Frame
		err := from.RecvMsg(&frame)
		if err != nil && err != io.EOF {
			cancel()
			return
		}
		if !r.send(frame, err == io.EOF) {
			return
		}
	}
}

// send passes on a message, which it takes over, or the end; false when nothing more is to be sent.
func (r *replay) send(frame wire.Frame, last bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.to == nil && r.sent > 0 && !last && !r.ended {
		r.changed.Wait()
	}
	switch {
	case r.ended:
		frame.Free()
		return false
	case last:
		if r.closed = true; r.to != nil {
			_ = r.to.CloseSend()
		}
		return false
	}
	if r.sent++; r.sent == 1 {
		r.first = frame
	} else {
		defer frame.Free()
	}
	if r.to != nil {
		_ = r.to.SendMsg(&frame)
	}
	return true
}
