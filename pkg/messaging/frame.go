package messaging

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/proto/wire"
)

// The messages of dapr.proto.internals.v1 are written here by hand, straight from the call: maps of lists
// cost an allocation for each header in generated code. The field numbers are those of the .proto files.
const (
	streamHead    = 1 // InternalInvoke{Request,Response}Stream.{request,response}
	streamPayload = 2

	requestVersion  = 1
	requestMetadata = 2
	requestMessage  = 3

	responseStatus   = 1
	responseHeaders  = 2
	responseTrailers = 3
	responseMessage  = 4

	invokeMethod        = 1
	invokeData          = 2
	invokeContentType   = 3
	invokeHTTPExtension = 4

	answerData        = 1
	answerContentType = 2

	extensionVerb  = 1
	extensionQuery = 2

	payloadData     = 1
	payloadSequence = 2

	statusCode    = 1
	statusMessage = 2
	statusDetails = 3

	anyTypeURL = 1
	anyValue   = 2

	entryKey   = 1
	entryValue = 2
	listValue  = 1
)

// versionOne is the only version of the messages between sidecars.
const versionOne = 1

// The length header stands in the metadata in exactly this form; the same name in lower case is what a
// gRPC client sent, and counts gRPC's framing in.
const (
	lengthHeader = "Content-Length"
	typeHeader   = "Content-Type"
)

// binarySuffix marks headers whose values are bytes. Between sidecars they travel as base64.
const binarySuffix = "-bin"

// errOnlyWritten is what reading into a message of this file gives: received ones are inbound.
var errOnlyWritten = errors.New("this message is only written")

var (
	_ wire.Message = (*requestFrame)(nil)
	_ wire.Message = (*responseFrame)(nil)
	_ wire.Message = (*wireBytes)(nil)
	_ wire.Message = (*inbound)(nil)
)

// frame is what the messages of both directions have alike.
type frame struct {
	header  channel.Header // the head's headers and those that the sidecar adds, grouped
	length  int64          // of the whole body, -1 where unknown
	payload []byte
	seq     uint64
	unary   bool
	size    int // of the head, as sizeWire found it
}

// heading is the request or the response of a frame.
type heading interface {
	headSize() int
	appendHead(dst []byte) []byte
}

// sizeWire is the size of the frame; h is nil in every message but the first.
func (f *frame) sizeWire(h heading) int {
	if f.unary {
		return h.headSize()
	}
	size := payloadSize(f.payload, f.seq)
	if h != nil {
		f.size = h.headSize()
		size += bytesFieldSize(f.size)
	}
	return size
}

func (f *frame) marshalWire(dst []byte, h heading) []byte {
	if f.unary {
		return h.appendHead(dst)
	}
	if h != nil {
		if f.size == 0 {
			f.size = h.headSize()
		}
		dst = appendLength(dst, streamHead, f.size)
		dst = h.appendHead(dst)
	}
	return appendPayload(dst, f.payload, f.seq)
}

// dataSize is the size of the Any, in which only a unary call has the body.
func (f *frame) dataSize(typeURL string) int {
	size := textSize(typeURL)
	if f.unary && len(f.payload) > 0 {
		size += bytesFieldSize(len(f.payload))
	}
	return size
}

func (f *frame) dataFieldSize(typeURL string) int {
	if data := f.dataSize(typeURL); data > 0 {
		return bytesFieldSize(data)
	}
	return 0
}

func (f *frame) appendData(dst []byte, field protowire.Number, typeURL string) []byte {
	data := f.dataSize(typeURL)
	if data == 0 {
		return dst
	}
	dst = appendLength(dst, field, data)
	dst = appendText(dst, anyTypeURL, typeURL)
	if f.unary {
		dst = appendBytes(dst, anyValue, f.payload)
	}
	return dst
}

// requestFrame is one InternalInvokeRequestStream, or the InternalInvokeRequest alone when unary.
type requestFrame struct {
	frame
	head *channel.Request // nil in every message but the first
	// actor is the one that is called, empty where none is.
	actor actorName
}

func (f *requestFrame) heading() heading {
	if f.head == nil {
		return nil
	}
	return f
}

// SizeWire is part of wire.Message.
func (f *requestFrame) SizeWire() int { return f.sizeWire(f.heading()) }

// MarshalWire is part of wire.Message.
func (f *requestFrame) MarshalWire(dst []byte) ([]byte, error) {
	return f.marshalWire(dst, f.heading()), nil
}

// UnmarshalWire is part of wire.Message.
func (*requestFrame) UnmarshalWire([]byte) error { return errOnlyWritten }

func (f *requestFrame) headSize() int {
	size := 2 + headerSize(f.header) + extrasSize(f.head.ContentType, f.length) + bytesFieldSize(f.messageSize())
	if f.actor != (actorName{}) {
		size += bytesFieldSize(f.actor.size())
	}
	return size
}

func (f *requestFrame) appendHead(dst []byte) []byte {
	dst = appendVarint(dst, requestVersion, versionOne)
	dst = appendHeader(dst, requestMetadata, f.header)
	dst = appendExtras(dst, requestMetadata, f.head.ContentType, f.length)
	dst = appendLength(dst, requestMessage, f.messageSize())
	dst = f.appendMessage(dst)
	if f.actor != (actorName{}) {
		dst = f.actor.append(dst)
	}
	return dst
}

func (f *requestFrame) messageSize() int {
	size := textSize(f.head.Method) + textSize(f.head.ContentType) + f.dataFieldSize(f.head.TypeURL)
	if f.head.Verb != "" {
		size += bytesFieldSize(2 + textSize(f.head.Query))
	}
	return size
}

func (f *requestFrame) appendMessage(dst []byte) []byte {
	dst = appendText(dst, invokeMethod, f.head.Method)
	dst = f.appendData(dst, invokeData, f.head.TypeURL)
	dst = appendText(dst, invokeContentType, f.head.ContentType)
	if f.head.Verb != "" {
		dst = appendLength(dst, invokeHTTPExtension, 2+textSize(f.head.Query))
		dst = appendVarint(dst, extensionVerb, verbNumber(f.head.Verb))
		dst = appendText(dst, extensionQuery, f.head.Query)
	}
	return dst
}
