package messaging

import (
	"context"
	"time"

	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/channel"
)

// Observer is told of the calls between sidecars: the seam of the metrics. App ids are valid during the call only; a
// status is an HTTP status (100 and up) or a gRPC code. Calls beside this sidecar are not told of.
type Observer interface {
	// InvocationSent is told of every attempt of a call to app; kind is Unary or Streaming.
	InvocationSent(app, kind string)
	// InvocationAnswered is told of the answer, if one came.
	InvocationAnswered(app, kind string, status int, elapsed time.Duration)
	// InvocationReceived is told of a call that came from app, "" where it does not say so.
	InvocationReceived(app string)
	// InvocationReplied is told of its answer.
	InvocationReplied(app string, status int)
}

// The kinds of calls. A proxied call is a stream: nobody can tell which calls are unary there.
const (
	Unary     = "unary"
	Streaming = "streaming"
)

// attempt is one call of another sidecar, as its observer is told of it. The zero one tells nothing.
type attempt struct {
	observer  Observer
	app, kind string
	began     time.Time
}

// sent tells of a call to app.
func (d *Direct) sent(app, kind string) attempt {
	if d.observer == nil {
		return attempt{}
	}
	d.observer.InvocationSent(app, kind)
	return attempt{d.observer, app, kind, time.Now()}
}

// answered tells of its answer: a status, or an error that the other sidecar gave.
func (a attempt) answered(ctx context.Context, code int, err error) {
	switch {
	case a.observer == nil:
		return
	case err != nil && (ctx.Err() != nil || unreachable(err)):
		return // nothing came
	case err != nil:
		code = int(status.Code(err))
	}
	a.observer.InvocationAnswered(a.app, a.kind, code, time.Since(a.began))
}

// callerOf is the application that a call names as its caller, "" if it names none.
func callerOf(h channel.Header) string {
	for _, f := range h {
		if sameName(f.Name, CallerAppIDHeader) {
			return f.Value
		}
	}
	return ""
}

// received tells of a call of another sidecar.
func (c *Callee) received(h channel.Header) (app string) {
	if c.observer == nil {
		return ""
	}
	app = callerOf(h)
	c.observer.InvocationReceived(app)
	return app
}

// replied tells of its answer.
func (c *Callee) replied(app string, res *channel.Response, err error) {
	switch {
	case c.observer == nil:
	case err != nil:
		c.observer.InvocationReplied(app, int(status.Code(err)))
	default:
		c.observer.InvocationReplied(app, res.Status)
	}
}
