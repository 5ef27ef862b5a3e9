package messaging

import (
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/channel"
)

var errLateRequest = status.Error(codes.InvalidArgument, "request metadata found in non-leading chunk")

// requestBody reads the payloads of a request as they come. It cannot be closed: gRPC ends it when the
// call is over.
type requestBody struct {
	stream grpc.ServerStream
	next   inbound
	data   []byte
	seq    uint64
	left   int64 // -1 where unknown
	err    error
}

// requestBody is the body of a call whose first message has come: whole if nothing can follow.
func (s *served) requestBody(stream grpc.ServerStream) (channel.Body, error) {
	have, length := int64(len(s.first.data)), s.first.length
	switch {
	case s.first.seq != 0:
		return channel.Body{}, errSequence(s.first.seq, 0)
	case length >= 0 && have > length:
		return channel.Body{}, errLongRequest
	case have == length:
		return channel.Body{Bytes: s.first.data}, nil
	}
	s.body = requestBody{stream: stream, next: s.body.next, data: s.first.data, left: length}
	if have > 0 {
		s.body.seq = 1
	}
	if length >= 0 {
		s.body.left = length - have
	} else if bodyless(s.first.verb) {
		return s.body.settled()
	}
	return channel.Body{Stream: &s.body, Length: length}, nil
}

// bodyless says whether requests of a verb seldom have a body. Dapr's sidecars do not tell one that has
// none from one of unknown length, except by ending the stream at once.
func bodyless(verb string) bool {
	switch verb {
	case "GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "", noVerb:
		return true
	}
	return false
}

// settled waits for the next message, which tells a body that has ended from one that goes on.
func (b *requestBody) settled() (channel.Body, error) {
	first := b.data
	switch err := b.message(); {
	case err == io.EOF:
		return channel.Body{Bytes: first}, nil
	case err != nil:
		return channel.Body{}, err
	}
	return channel.Body{Stream: &resumed{first: first, rest: b}, Length: -1}, nil
}

// resumed reads a first piece before the rest.
type resumed struct {
	first []byte
	rest  *requestBody
}

// Read gives the first piece, then the rest.
func (r *resumed) Read(p []byte) (int, error) {
	if len(r.first) > 0 {
		n := copy(p, r.first)
		r.first = r.first[n:]
		return n, nil
	}
	return r.rest.Read(p)
}

// Read gives io.EOF at the end of a complete body only.
func (b *requestBody) Read(p []byte) (int, error) {
	for len(b.data) == 0 {
		if b.err == nil {
			b.err = b.message()
		}
		if b.err != nil {
			return 0, b.err
		}
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}

func (b *requestBody) message() error {
	if b.left == 0 {
		return io.EOF
	}
	switch err := b.stream.RecvMsg(&b.next); {
	case err == io.EOF && b.left > 0:
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	case b.next.hasHead:
		return errLateRequest
	case len(b.next.data) == 0:
		b.data = nil
		return nil
	case b.next.seq != b.seq:
		return errSequence(b.next.seq, b.seq)
	}
	b.seq++
	b.data = b.next.data
	if b.left < 0 {
		return nil
	}
	if b.left -= int64(len(b.data)); b.left < 0 {
		return errLongRequest
	}
	return nil
}

func errSequence(got, want uint64) error {
	return status.Error(codes.InvalidArgument, fmt.Sprintf(errSequenceOfPayload, got, want))
}
