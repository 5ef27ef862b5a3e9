package messaging

import (
	"errors"

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

// requestFrame is one InternalInvokeRequestStream, or the InternalInvokeRequest alone when unary.
type requestFrame struct {
	head    *channel.Request // nil in every message but the first
	header  channel.Header   // the head's headers and those that the caller's sidecar adds, grouped
	length  int64            // of the whole body, -1 where unknown
	payload []byte
	seq     uint64
	unary   bool
	size    int // of the head, as SizeWire found it
}

// SizeWire is part of wire.Message.
func (f *requestFrame) SizeWire() int {
	if f.unary {
		return f.headSize()
	}
	size := payloadSize(f.payload, f.seq)
	if f.head != nil {
		f.size = f.headSize()
		size += bytesFieldSize(f.size)
	}
	return size
}

// MarshalWire is part of wire.Message.
func (f *requestFrame) MarshalWire(dst []byte) ([]byte, error) {
	if f.unary {
		return f.appendHead(dst), nil
	}
	if f.head != nil {
		if f.size == 0 {
			f.size = f.headSize()
		}
		dst = appendLength(dst, streamHead, f.size)
		dst = f.appendHead(dst)
	}
	return appendPayload(dst, f.payload, f.seq), nil
}

// UnmarshalWire is part of wire.Message.
func (*requestFrame) UnmarshalWire([]byte) error { return errOnlyWritten }

func (f *requestFrame) headSize() int {
	return 2 + headerSize(f.header) + extrasSize(f.head.ContentType, f.length) + bytesFieldSize(f.messageSize())
}

func (f *requestFrame) appendHead(dst []byte) []byte {
	dst = appendVarint(dst, requestVersion, versionOne)
	dst = appendHeader(dst, requestMetadata, f.header)
	dst = appendExtras(dst, requestMetadata, f.head.ContentType, f.length)
	dst = appendLength(dst, requestMessage, f.messageSize())
	return f.appendMessage(dst)
}

func (f *requestFrame) messageSize() int {
	size := textSize(f.head.Method) + textSize(f.head.ContentType)
	if data := f.dataSize(); data > 0 {
		size += bytesFieldSize(data)
	}
	if f.head.Verb != "" {
		size += bytesFieldSize(2 + textSize(f.head.Query))
	}
	return size
}

func (f *requestFrame) dataSize() int {
	size := textSize(f.head.TypeURL)
	if f.unary && len(f.payload) > 0 {
		size += bytesFieldSize(len(f.payload))
	}
	return size
}

func (f *requestFrame) appendMessage(dst []byte) []byte {
	dst = appendText(dst, invokeMethod, f.head.Method)
	if data := f.dataSize(); data > 0 {
		dst = appendLength(dst, invokeData, data)
		dst = appendText(dst, anyTypeURL, f.head.TypeURL)
		if f.unary {
			dst = appendBytes(dst, anyValue, f.payload)
		}
	}
	dst = appendText(dst, invokeContentType, f.head.ContentType)
	if f.head.Verb != "" {
		dst = appendLength(dst, invokeHTTPExtension, 2+textSize(f.head.Query))
		dst = appendVarint(dst, extensionVerb, verbNumber(f.head.Verb))
		dst = appendText(dst, extensionQuery, f.head.Query)
	}
	return dst
}
