package messaging

import (
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/daprd/daprd/pkg/channel"
)

// responseFrame is one InternalInvokeResponseStream, or the InternalInvokeResponse alone when unary.
type responseFrame struct {
	frame
	head    *channel.Response // nil in every message but the first
	trailer channel.Header
}

func (f *responseFrame) heading() heading {
	if f.head == nil {
		return nil
	}
	return f
}

// SizeWire is part of wire.Message.
func (f *responseFrame) SizeWire() int { return f.sizeWire(f.heading()) }

// MarshalWire is part of wire.Message.
func (f *responseFrame) MarshalWire(dst []byte) ([]byte, error) {
	return f.marshalWire(dst, f.heading()), nil
}

// UnmarshalWire is part of wire.Message.
func (*responseFrame) UnmarshalWire([]byte) error { return errOnlyWritten }

func (f *responseFrame) headSize() int {
	return bytesFieldSize(f.statusSize()) + headerSize(f.header) + headerSize(f.trailer) +
		extrasSize(f.headerType(), f.length) + bytesFieldSize(f.messageSize())
}

func (f *responseFrame) appendHead(dst []byte) []byte {
	dst = appendLength(dst, responseStatus, f.statusSize())
	dst = f.appendStatus(dst)
	dst = appendHeader(dst, responseHeaders, f.header)
	dst = appendExtras(dst, responseHeaders, f.headerType(), f.length)
	dst = appendHeader(dst, responseTrailers, f.trailer)
	dst = appendLength(dst, responseMessage, f.messageSize())
	return f.appendMessage(dst)
}

// headerType is the content type for the headers, where that of an HTTP application stands too.
func (f *responseFrame) headerType() string {
	if f.head.IsHTTP() {
		return f.head.ContentType
	}
	return ""
}

func (f *responseFrame) statusSize() int {
	size := textSize(f.head.Message)
	if f.head.Status != 0 {
		size += 1 + protowire.SizeVarint(uint64(int64(f.head.Status)))
	}
	for _, detail := range f.head.Details.GetDetails() {
		size += bytesFieldSize(proto.Size(detail))
	}
	return size
}

func (f *responseFrame) appendStatus(dst []byte) []byte {
	if f.head.Status != 0 {
		dst = appendVarint(dst, statusCode, uint64(int64(f.head.Status)))
	}
	dst = appendText(dst, statusMessage, f.head.Message)
	for _, detail := range f.head.Details.GetDetails() {
		dst = appendLength(dst, statusDetails, proto.Size(detail))
		// An Any holds nothing that cannot be written.
		dst, _ = proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(dst, detail)
	}
	return dst
}

func (f *responseFrame) messageSize() int {
	return textSize(f.head.ContentType) + f.dataFieldSize(f.head.TypeURL)
}

func (f *responseFrame) appendMessage(dst []byte) []byte {
	dst = f.appendData(dst, answerData, f.head.TypeURL)
	return appendText(dst, answerContentType, f.head.ContentType)
}

// detailsOf keeps a status as the application sent it when it has details.
func detailsOf(code int, message string, details [][]byte) (*statuspb.Status, error) {
	if len(details) == 0 {
		return nil, nil
	}
	raw := appendVarint(nil, statusCode, uint64(int64(code)))
	raw = appendText(raw, statusMessage, message)
	for _, detail := range details {
		raw = protowire.AppendTag(raw, statusDetails, protowire.BytesType)
		raw = protowire.AppendBytes(raw, detail)
	}
	status := &statuspb.Status{}
	return status, proto.Unmarshal(raw, status)
}
