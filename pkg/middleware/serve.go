package middleware

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
)

// ErrAborted is the answer of a call that was broken off on purpose before it was answered.
var ErrAborted = errors.New("a middleware broke the call off")

// lastKey finds in a request's context what is behind the chain.
type lastKey struct{}

// last is the innermost handler of every chain: it hands the request to whoever began the call.
func last(w http.ResponseWriter, r *http.Request) {
	next, ok := r.Context().Value(lastKey{}).(http.Handler)
	if !ok {
		panic("a middleware replaced the request's context by one that does not descend from it")
	}
	next.ServeHTTP(w, r)
}

// Serve runs the request through the chain and, if the chain lets it pass, into next. It gives the answer when its head
// is there; a body that is not small and whole by then streams. Chain and next run in a goroutine that the answer owns:
// Answer.Close ends the request's context and waits for it. The error is ErrAborted or a panic of the chain; there is
// nothing to close then. The chain must not be used after.
func (c *Chain) Serve(r *http.Request, next http.Handler) (*Answer, error) {
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), lastKey{}, next))
	w := newWriter(r.Method)
	answer := &Answer{cancel: cancel, over: make(chan struct{})}
	go func() {
		defer close(answer.over)
		defer c.uses.Leave()
		w.finish(c.run(w, r.WithContext(ctx)))
	}()
	head := <-w.answered
	if head.err != nil {
		_ = answer.Close()
		return nil, head.err
	}
	answer.Status, answer.Header, answer.Bytes, answer.Length = head.status, head.header, head.whole, head.length
	if head.stream != nil {
		answer.Stream, answer.pipe = head.stream, head.stream.pipe
	}
	return answer, nil
}

// Leave gives up the chain unused.
func (c *Chain) Leave() { c.uses.Leave() }

// run gives what a panic of the chain was.
func (c *Chain) run(w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		switch cause := recover(); cause {
		case nil:
		case http.ErrAbortHandler:
			err = ErrAborted
		default:
			c.log("panic in a middleware pipeline at %s %s: %v\n%s", r.Method, r.URL.Path, cause, debug.Stack())
			err = fmt.Errorf("a middleware failed at this call: %v; the sidecar's log has the details", cause)
		}
	}()
	c.head.ServeHTTP(w, r)
	return nil
}
