package messaging

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/channel"
)

// chunkSize is how much of a body one message carries. With its framing it fits into a buffer of gRPC's
// pool of 32 KiB; the next larger ones have 1 MiB: with chunks of 64 KiB a long stream took twice the time
// and five times the memory. Dapr's sidecars send 2 KiB and take any size.
const chunkSize = 32<<10 - 64

// The methods of dapr.proto.internals.v1.ServiceInvocation.
const (
	serviceName      = "dapr.proto.internals.v1.ServiceInvocation"
	callLocal        = "CallLocal"
	callLocalStream  = "CallLocalStream"
	callUnaryMethod  = "/" + serviceName + "/" + callLocal
	callStreamMethod = "/" + serviceName + "/" + callLocalStream
)

var (
	errNoResponse        = errors.New("response does not contain the required fields in the leading chunk")
	errLateResponse      = errors.New("response metadata found in non-leading chunk")
	errLongAnswer        = errors.New("the answer is longer than the length that it declared")
	errReadAfterClose    = errors.New("read of an answer after it was closed")
	errOldPeer           = "the sidecar at %s does not know streamed calls (it is older than Dapr 1.10), and a body that is not in memory as a whole cannot be sent otherwise: upgrade that sidecar"
	errSequenceOfPayload = "invalid sequence number received: %d (expected: %d)"
)

// outgoing is a call on its way to another sidecar; it can be tried more than once.
type outgoing struct {
	req     *channel.Request
	header  channel.Header
	uploads *sync.WaitGroup
	// begun is set once a peer may have seen something of the call.
	begun bool
}

func (o *outgoing) inOneMessage() bool {
	return o.req.Body.Stream == nil && len(o.req.Body.Bytes) <= chunkSize
}

// replayable says whether the call can be made again although a peer may have seen it.
func (o *outgoing) replayable() bool { return o.req.Body.Stream == nil }

// exchange is one call to a peer and its answer. It is used again when the answer is closed.
type exchange struct {
	peer    *peer
	stream  grpc.ClientStream
	cancel  context.CancelFunc
	out     requestFrame
	first   inbound // lends its strings to the Response
	body    answerBody
	upload  *upload
	release func()
}

// exchanges is where exchanges rest between calls.
type exchanges struct{ pool sync.Pool }

func (p *exchanges) take() *exchange {
	x, ok := p.pool.Get().(*exchange)
	if !ok {
		x = &exchange{}
		x.release = func() {
			if x.close() {
				p.pool.Put(x)
			}
		}
	}
	return x
}

var (
	// wholeCall makes gRPC end the stream in the frame that carries the only message. The callee sees no
	// difference to bothWays.
	wholeCall = grpc.StreamDesc{StreamName: callLocalStream, ServerStreams: true}
	bothWays  = grpc.StreamDesc{StreamName: callLocalStream, ServerStreams: true, ClientStreams: true}
)

// call makes the call over peer, whose use it takes over.
func (x *exchange) call(ctx context.Context, to *peer, o *outgoing) (*channel.Response, error) {
	ctx = withTrace(ctx, o.header)
	ctx, x.cancel = context.WithCancel(ctx)
	x.peer = to
	x.out = requestFrame{frame: frame{header: o.header, length: o.req.Body.Size()}, head: o.req}
	x.first.answer = true
	if to.unaryOnly.Load() {
		return x.callUnary(ctx, o)
	}
	res, err := x.callStream(ctx, o)
	if status.Code(err) != codes.Unimplemented || res != nil {
		return res, err
	}
	if !o.replayable() {
		return nil, fmt.Errorf(errOldPeer, to.key.address)
	}
	res, err = x.callUnary(ctx, o)
	if status.Code(err) != codes.Unimplemented {
		to.unaryOnly.Store(true)
	}
	return res, err
}

func (x *exchange) callStream(ctx context.Context, o *outgoing) (*channel.Response, error) {
	desc := &bothWays
	if o.inOneMessage() {
		desc = &wholeCall
	}
	stream, err := x.peer.newStream(ctx, desc, callStreamMethod)
	if err != nil {
		return nil, err
	}
	x.stream, o.begun = stream, true
	if o.req.Body.Stream == nil {
		x.out.payload = o.req.Body.Bytes[:min(len(o.req.Body.Bytes), chunkSize)]
	}
	// An io.EOF says that the stream has ended; the reason is received.
	if err := stream.SendMsg(&x.out); err != nil && err != io.EOF {
		return nil, err
	}
	if desc == &bothWays {
		x.upload = newUpload(stream, o.req.Body, x.cancel)
		o.uploads.Go(x.upload.run)
	}
	return x.receive()
}

func (x *exchange) receive() (*channel.Response, error) {
	x.first.unary = false
	if err := x.stream.RecvMsg(&x.first); err != nil {
		if err == io.EOF {
			err = errNoResponse
		}
		return nil, x.reason(err)
	}
	if !x.first.hasHead {
		return nil, errNoResponse
	}
	res, err := x.response()
	if err != nil {
		return nil, err
	}
	return res, x.answer(res)
}

// answer decides whether the body is there as a whole.
func (x *exchange) answer(res *channel.Response) error {
	have := int64(len(x.first.data))
	switch length := x.first.length; {
	case x.bodyless(res):
		res.Body = channel.Withhold(res.Status, length)
	case x.first.seq != 0:
		return fmt.Errorf(errSequenceOfPayload, x.first.seq, 0)
	case length >= 0 && have > length:
		return errLongAnswer
	case length == have:
		res.Body.Bytes = x.first.data
	default:
		x.body.begin(x)
		res.Body = channel.Body{Stream: &x.body, Length: length}
	}
	return nil
}

// bodyless says whether no body follows, whatever length the answer declares.
func (x *exchange) bodyless(res *channel.Response) bool {
	return res.IsHTTP() && channel.Bodyless(x.out.head.Verb, res.Status)
}

func (x *exchange) response() (*channel.Response, error) {
	in := &x.first
	details, err := detailsOf(in.status, in.message, in.details)
	if err != nil {
		return nil, fmt.Errorf("read the details of the answer of the sidecar at %s: %w", x.peer.key.address, err)
	}
	return &channel.Response{
		Status:      in.status,
		Message:     in.message,
		Details:     details,
		Header:      in.header,
		Trailer:     in.trailer,
		ContentType: in.contentType,
		TypeURL:     in.typeURL,
		Release:     x.release,
	}, nil
}

// callUnary is for sidecars that do not know CallLocalStream (Dapr before 1.10).
func (x *exchange) callUnary(ctx context.Context, o *outgoing) (*channel.Response, error) {
	if !o.replayable() {
		return nil, fmt.Errorf(errOldPeer, x.peer.key.address)
	}
	o.begun = true
	x.out.unary, x.out.payload = true, o.req.Body.Bytes
	x.first.unary = true
	if err := x.peer.conn().Invoke(ctx, callUnaryMethod, &x.out, &x.first); err != nil {
		return nil, err
	}
	res, err := x.response()
	switch {
	case err != nil:
	case x.bodyless(res):
		res.Body = channel.Withhold(res.Status, x.first.length)
	default:
		res.Body.Bytes = x.first.data
	}
	return res, err
}

// reason prefers what went wrong with the request's body over what that made of the stream.
func (x *exchange) reason(err error) error {
	if x.upload != nil {
		if failure := x.upload.failure(); failure != nil {
			return failure
		}
	}
	return err
}

// close ends the call. It says whether the exchange may be used again: not while a body is read that
// cannot be interrupted.
func (x *exchange) close() bool {
	x.cancel()
	settled := x.upload == nil || x.upload.settle()
	x.body.end()
	x.peer.release()
	x.peer, x.stream, x.cancel, x.upload = nil, nil, nil, nil
	x.out = requestFrame{}
	return settled
}

// answerBody reads the payloads of an answer as they come.
type answerBody struct {
	x    *exchange
	next inbound
	data []byte
	seq  uint64
	left int64 // -1 where unknown
	err  error
}

func (b *answerBody) begin(x *exchange) {
	*b = answerBody{x: x, next: b.next, data: x.first.data, left: x.first.length, err: nil}
	if len(b.data) > 0 {
		b.seq = 1
	}
	b.count(len(b.data))
}

func (b *answerBody) end() {
	b.x, b.data = nil, nil
	if b.err == nil {
		b.err = errReadAfterClose
	}
}

// Read gives io.EOF at the end of a complete body only.
func (b *answerBody) Read(p []byte) (int, error) {
	for len(b.data) == 0 {
		if err := b.receive(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}

// WriteTo spares the copy that Read makes.
func (b *answerBody) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		for len(b.data) == 0 {
			switch err := b.receive(); err {
			case nil:
			case io.EOF:
				return total, nil
			default:
				return total, err
			}
		}
		n, err := w.Write(b.data)
		total += int64(n)
		b.data = b.data[n:]
		if err != nil {
			return total, err
		}
	}
}

func (b *answerBody) receive() error {
	if b.err == nil {
		b.err = b.message()
	}
	return b.err
}

func (b *answerBody) message() error {
	b.next.answer = true
	switch err := b.x.stream.RecvMsg(&b.next); {
	case err == io.EOF && b.left > 0:
		return io.ErrUnexpectedEOF
	case err == io.EOF:
		return err
	case err != nil:
		return fmt.Errorf("read the answer of the sidecar at %s: %w", b.x.peer.key.address, b.x.reason(err))
	case b.next.hasHead:
		return errLateResponse
	case len(b.next.data) == 0:
		return nil
	case b.next.seq != b.seq:
		return fmt.Errorf(errSequenceOfPayload, b.next.seq, b.seq)
	}
	b.seq++
	b.data = b.next.data
	return b.count(len(b.data))
}

func (b *answerBody) count(n int) error {
	if b.left < 0 {
		return nil
	}
	if b.left -= int64(n); b.left < 0 {
		return errLongAnswer
	}
	return nil
}
