package channel

import (
	"bufio"
	"context"
	"errors"

	"github.com/valyala/fasthttp"
)

const (
	// wholeBody is up to which size a body passes in one piece. A request of that size fits into the
	// buffers of a socket, so that writing it never waits for an application that answers without reading.
	wholeBody = 64 << 10
	// joinedBody is up to which size a request's body is written together with its head.
	joinedBody = 16 << 10
	// readBuffer is what one read of a socket may bring; most answers fit.
	readBuffer = 8 << 10
	// maxHead bounds the head of an answer.
	maxHead = 64 << 10
	// maxInterim bounds the 1xx answers before the real one.
	maxInterim = 16
)

var (
	errMalformed = errors.New("malformed HTTP response")
	errHeadSize  = errors.New("the header of the HTTP response is larger than 64 KiB")
	errSwitched  = errors.New("the app switched protocols unasked (status 101)")
)

// exchange is one request and its answer. It is used again when the answer is closed; what it lends out
// (strings, bytes) is not valid any longer then.
type exchange struct {
	app     *http1
	out     []byte
	reader  *bufio.Reader
	narrow  *bufio.Reader
	head    fasthttp.ResponseHeader
	fields  Header
	body    []byte
	release func()

	conn   *conn
	watch  watch
	upload *upload
	stream *download
	seen   observation
	// written and begun say how far it came: whether the request is on its way as a whole, and whether a
	// byte of the answer arrived. closing is the application's wish to close the connection.
	written, begun, closing bool
}

func newExchange(app *http1) *exchange {
	x := &exchange{app: app, narrow: bufio.NewReaderSize(nil, readBuffer)}
	x.head.SetNoDefaultContentType(true)
	x.release = x.free
	return x
}

// compose writes the request's head, and its body if it is small.
func (x *exchange) compose(t *target, req *Request) error {
	b, err := t.appendHead(x.out[:0], req)
	if err == nil {
		b = appendFraming(b, req.Verb, req.Body)
		if req.Body.Stream == nil && len(req.Body.Bytes) <= joinedBody {
			b = append(b, req.Body.Bytes...)
		}
	}
	x.out = b
	return err
}

// run makes the exchange over c.
func (x *exchange) run(ctx context.Context, c *conn, req *Request) (*Response, error) {
	x.conn, x.written, x.begun = c, false, false
	x.watch.start(ctx, c)
	x.reader = x.narrow
	x.reader.Reset(c)
	err := x.send(req)
	if err == nil {
		err = x.receive()
	}
	if err != nil {
		return nil, x.fail(err)
	}
	return x.answer(req.Verb)
}

func (x *exchange) send(req *Request) error {
	if _, err := x.conn.Write(x.out); err != nil {
		return err
	}
	body := req.Body
	switch {
	case body.Stream == nil && len(body.Bytes) <= joinedBody:
	case body.Stream == nil && len(body.Bytes) <= wholeBody:
		if _, err := x.conn.Write(body.Bytes); err != nil {
			return err
		}
	case body.Stream != nil && body.Length == 0:
	default:
		x.upload = newUpload(x.conn, body)
		x.app.uploads.Go(x.upload.run)
	}
	x.written = true
	return nil
}

// mayRepeat says whether a call that failed on a connection used before may be made again: nothing of an
// answer came, so the application may have closed the connection before the request reached it. Whether it
// did so can be told only if the request could not be written; else only calls that do no harm when they
// are made twice are repeated (RFC 9110, 9.2.2).
func (x *exchange) mayRepeat(req *Request) bool {
	if x.begun || req.Body.Stream != nil {
		return false
	}
	return !x.written || (req.Verb != "POST" && req.Verb != "PATCH")
}

// fail ends the exchange and gives the reason: what went wrong with the request's body comes before what
// the connection said then.
func (x *exchange) fail(err error) error {
	if failure := x.uploadFailure(); failure != nil {
		err = failure
	}
	x.end(false)
	x.settle()
	return err
}

func (x *exchange) uploadFailure() error {
	if x.upload == nil {
		return nil
	}
	return x.upload.failure()
}

// end gives the connection back when the answer has been read to its end; whole says so. An application
// that has answered needs no more of the request: what is still to be sent is not.
func (x *exchange) end(whole bool) {
	c := x.conn
	if c == nil {
		return
	}
	x.conn = nil
	whole = x.watch.end() && whole
	if whole && !x.closing && x.unread() == 0 && (x.upload == nil || x.upload.finished()) {
		x.app.pool.put(c)
		return
	}
	c.close()
	if x.upload != nil {
		x.upload.cancel()
	}
}

func (x *exchange) unread() int {
	n := x.narrow.Buffered()
	if x.reader != x.narrow {
		n += x.reader.Buffered()
	}
	return n
}

// settle waits for the upload where it can be made to end.
func (x *exchange) settle() {
	if x.upload != nil {
		x.upload.settle()
		x.upload = nil
	}
}

// free makes the exchange ready for the next call.
func (x *exchange) free() {
	x.end(false)
	x.settle()
	if x.stream != nil {
		x.seen.ended(x.stream.got)
		x.stream.x = nil
		x.stream = nil
	}
	x.narrow.Reset(nil)
	x.reader = nil
	if cap(x.out) > 2*wholeBody {
		x.out = nil
	}
	x.app.exchanges.Put(x)
}
