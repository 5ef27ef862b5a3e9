package channel

import (
	"context"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/proto/wire"
)

// Observer is told of the calls to the application: the seam of the metrics.
type Observer interface {
	// HTTPCalled is told of a call of an HTTP application; one without an answer counts as 500. Verb and path, which has
	// no leading slash, are valid during the call only. Sent and received are the bytes of the bodies, -1 where they were
	// not counted. Elapsed is until the head of the answer was there, and a body that comes in one piece.
	HTTPCalled(verb, path string, status int, sent, received int64, elapsed time.Duration)
	// GRPCCalled is told of a unary call of a gRPC application, proxied ones excluded.
	GRPCCalled(method string, code codes.Code, received, sent int, elapsed time.Duration)
}

// observation is what an observer is told of one HTTP call. The zero one tells nothing.
type observation struct {
	observer   Observer
	verb, path string
	sent       int64
	status     int
	began      time.Time
	elapsed    time.Duration
}

func observe(observer Observer, req *Request) (o observation) {
	if observer != nil {
		o = observation{observer: observer, verb: req.Verb, path: req.Method, sent: req.Body.Size(), began: time.Now()}
	}
	return o
}

// answered notes the status of the answer.
func (o *observation) answered(status int) {
	if o.observer != nil {
		o.status, o.elapsed = status, time.Since(o.began)
	}
}

// failed tells of a call without an answer.
func (o *observation) failed() {
	o.answered(http.StatusInternalServerError)
	o.ended(-1)
}

// ended tells of a call whose answer is over.
func (o *observation) ended(received int64) {
	if o.observer != nil {
		o.observer.HTTPCalled(o.verb, o.path, o.status, o.sent, received, o.elapsed)
		*o = observation{}
	}
}

// observed tells observer of the unary calls of a connection.
func observed(observer Observer) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		if method == runtimev1.AppCallbackHealthCheck_HealthCheck_FullMethodName {
			return invoke(ctx, method, req, reply, conn, options...)
		}
		began := time.Now()
		err := invoke(ctx, method, req, reply, conn, options...)
		received := 0
		if err == nil {
			received = wire.Size(reply)
		}
		observer.GRPCCalled(method, status.Code(err), received, wire.Size(req), time.Since(began))
		return err
	}
}
