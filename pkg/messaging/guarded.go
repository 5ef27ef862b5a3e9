package messaging

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/resiliency"
)

// keptBody is the largest streamed body that is read into memory to be sent again. Larger ones, and those of
// unknown length, are tried again only while nobody has read of them.
const keptBody = 64 << 10

// send makes a call once.
type send func(ctx context.Context, req *channel.Request) (*channel.Response, error)

// guard is the policy of calls to id, nil while there is none. One for an application holds for its id with a
// namespace too, unless that has its own.
func (d *Direct) guard(id string) *resiliency.Guard {
	g := d.policies.App(id)
	if g.Explicit() {
		return g
	}
	if app, _, ok := strings.Cut(id, "."); ok {
		if named := d.policies.App(app); named.Explicit() {
			return named
		}
	}
	return g
}

// Guard is the policy of proxied calls to an application, nil while there is none.
func (d *Direct) Guard(target Target) *resiliency.Guard {
	if target.Namespace != d.self.Namespace {
		return d.guard(target.AppID + "." + target.Namespace)
	}
	return d.guard(target.AppID)
}

// guarded makes the call under the policies of its target. part is what has a breaker of its own. An answer
// that says failure is tried again like an error, and is the caller's when no more attempts are made.
func (d *Direct) guarded(ctx context.Context, guard *resiliency.Guard, part string, req *channel.Request, send send) (*channel.Response, error) {
	c := &guardedCall{req: req, send: send}
	if body := &req.Body; body.Stream != nil && guard.Retries() && body.Length >= 0 && body.Length <= keptBody {
		whole, err := body.Whole(keptBody)
		if err != nil {
			return nil, err
		}
		*body = channel.Body{Bytes: whole}
	}
	err := guard.Call(ctx, part, c.attempt)
	c.body.settle()
	if isAnswer(err) {
		return c.res, nil
	}
	if err != nil {
		c.drop()
		return nil, err
	}
	return c.res, nil
}

// guardedCall is one call and its attempts.
type guardedCall struct {
	req  *channel.Request
	send send
	body *sentBody
	res  *channel.Response
}

// drop lets go of an earlier attempt's answer.
func (c *guardedCall) drop() {
	c.res.Close()
	c.res = nil
}

func (c *guardedCall) attempt(ctx context.Context) error {
	c.drop()
	if !c.body.untouched() {
		return usedUp{errBodyGone}
	}
	sent := *c.req
	c.body, sent.Body.Stream = sentOnce(sent.Body.Stream)
	res, err := c.send(ctx, &sent)
	if err != nil {
		return c.failed(err)
	}
	c.res = res
	switch {
	case res.IsHTTP() && res.Status >= http.StatusBadRequest:
		return &webAnswer{answer{c}}
	case !res.IsHTTP() && res.Status != int(codes.OK):
		return &rpcAnswer{answer{c}}
	}
	return nil
}

var errBodyGone = errors.New("the body was read already and cannot be sent again")

// failed says of an error what policies need to know.
func (c *guardedCall) failed(err error) error {
	if status.Code(err) == codes.Unauthenticated {
		err = unreached{err}
	}
	if !c.body.untouched() {
		return usedUp{err}
	}
	return err
}

// unreached is a sidecar that did not accept this one's certificate: by the next attempt there may be another.
type unreached struct{ error }

func (e unreached) GRPCStatus() *status.Status {
	return status.New(codes.Unavailable, status.Convert(e.error).Message())
}
func (e unreached) Unwrap() error { return e.error }

// usedUp is the failure of a call whose body cannot be sent again.
type usedUp struct{ error }

func (e usedUp) Final() bool   { return true }
func (e usedUp) Unwrap() error { return e.error }

// answer is an answer that says failure.
type answer struct{ call *guardedCall }

func (a answer) Error() string { return "the answer says failure" }

// Final says that the body of the request cannot be sent again.
func (a answer) Final() bool { return !a.call.body.untouched() }

// Discard frees the answer, since another attempt follows.
func (a answer) Discard() { a.call.drop() }

// RetryAfter is what the answer asks for.
func (a answer) RetryAfter() (time.Duration, bool) {
	return resiliency.ParseRetryAfter(a.call.res.Header.Value("Retry-After"), time.Now())
}

// webAnswer and rpcAnswer differ in the status that they have.
type (
	webAnswer struct{ answer }
	rpcAnswer struct{ answer }
)

func (a *webAnswer) HTTPStatus() int { return a.call.res.Status }
func (a *rpcAnswer) GRPCStatus() *status.Status {
	return status.New(codes.Code(a.call.res.Status), a.call.res.Message)
}

func isAnswer(err error) bool {
	var web *webAnswer
	var rpc *rpcAnswer
	return errors.As(err, &web) || errors.As(err, &rpc)
}
