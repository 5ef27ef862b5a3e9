package messaging

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/daprd/daprd/pkg/channel"
)

// maxFields bounds the headers of one message: an entry of two bytes on the wire becomes one of 32.
const maxFields = 10_000

// keptArena is the largest receive buffer that is kept for the next call.
const keptArena = 2 * chunkSize

var errTooManyFields = fmt.Errorf("more than %d headers", maxFields)

// inbound is one received message, of either direction. Everything that it holds borrows its arena: it is
// valid until the next message is read into it.
type inbound struct {
	arena  []byte
	answer bool // an InternalInvokeResponse rather than a request
	unary  bool

	hasHead bool // request or response is there and not empty
	version uint64
	// A request without a message, or with headers only, is told apart from one with empty fields.
	hasMessage  bool
	actor       actorName
	verb        string
	method      string
	query       string
	typeURL     string
	contentType string
	header      channel.Header
	trailer     channel.Header
	length      int64
	status      int
	message     string
	details     [][]byte

	data []byte
	seq  uint64
}

// SizeWire is part of wire.Message; an inbound is only ever read.
func (*inbound) SizeWire() int { return 0 }

// MarshalWire is part of wire.Message.
func (*inbound) MarshalWire([]byte) ([]byte, error) {
	return nil, errors.New("a received message is not sent")
}

// UnmarshalWire is part of wire.Message.
func (in *inbound) UnmarshalWire(src []byte) error {
	in.reset()
	in.arena = append(in.arena[:0], src...)
	if in.unary {
		in.hasHead = true
		return in.readHead(in.arena)
	}
	return each(in.arena, func(field protowire.Number, value wireValue) error {
		switch field {
		case streamHead:
			in.hasHead = in.hasHead || len(value.bytes) > 0
			return in.readHead(value.bytes)
		case streamPayload:
			return in.readPayload(value.bytes)
		}
		return nil
	})
}

func (in *inbound) reset() {
	arena, header, trailer := in.arena, in.header[:0], in.trailer[:0]
	if cap(arena) > keptArena {
		arena = nil
	}
	*in = inbound{arena: arena, header: header, trailer: trailer, length: -1, answer: in.answer, unary: in.unary}
}

func (in *inbound) readHead(b []byte) error {
	if in.answer {
		return each(b, in.readResponseField)
	}
	return each(b, in.readRequestField)
}

func (in *inbound) readRequestField(field protowire.Number, value wireValue) (err error) {
	switch field {
	case requestVersion:
		in.version = value.number
	case requestMetadata:
		in.header, err = in.readEntry(in.header, value.bytes)
	case requestMessage:
		in.hasMessage = true
		err = each(value.bytes, in.readInvokeField)
	case requestActor:
		err = each(value.bytes, in.readActorField)
	}
	return err
}

func (in *inbound) readInvokeField(field protowire.Number, value wireValue) error {
	switch field {
	case invokeMethod:
		in.method = text(value.bytes)
	case invokeData:
		return each(value.bytes, in.readAnyField)
	case invokeContentType:
		in.contentType = text(value.bytes)
	case invokeHTTPExtension:
		if in.verb == "" {
			in.verb = noVerb
		}
		return each(value.bytes, in.readExtensionField)
	}
	return nil
}

func (in *inbound) readExtensionField(field protowire.Number, value wireValue) error {
	switch field {
	case extensionVerb:
		in.verb = verbName(value.number)
	case extensionQuery:
		in.query = text(value.bytes)
	}
	return nil
}

func (in *inbound) readResponseField(field protowire.Number, value wireValue) (err error) {
	switch field {
	case responseStatus:
		err = each(value.bytes, in.readStatusField)
	case responseHeaders:
		in.header, err = in.readEntry(in.header, value.bytes)
	case responseTrailers:
		// Dapr's sidecars put the content type of gRPC itself in here.
		length := in.length
		in.trailer, err = in.readEntry(in.trailer, value.bytes)
		in.length = length
	case responseMessage:
		in.hasMessage = true
		err = each(value.bytes, in.readAnswerField)
	}
	return err
}

func (in *inbound) readStatusField(field protowire.Number, value wireValue) error {
	switch field {
	case statusCode:
		in.status = int(int32(value.number))
	case statusMessage:
		in.message = text(value.bytes)
	case statusDetails:
		in.details = append(in.details, value.bytes)
	}
	return nil
}

func (in *inbound) readAnswerField(field protowire.Number, value wireValue) error {
	switch field {
	case answerData:
		return each(value.bytes, in.readAnyField)
	case answerContentType:
		in.contentType = text(value.bytes)
	}
	return nil
}

func (in *inbound) readAnyField(field protowire.Number, value wireValue) error {
	switch field {
	case anyTypeURL:
		in.typeURL = text(value.bytes)
	case anyValue:
		// In a stream the data is in the payloads.
		if in.unary {
			in.data = value.bytes
		}
	}
	return nil
}

func (in *inbound) readPayload(b []byte) error {
	return each(b, func(field protowire.Number, value wireValue) error {
		switch field {
		case payloadData:
			in.data = value.bytes
		case payloadSequence:
			in.seq = value.number
		}
		return nil
	})
}

// readEntry adds one entry of a map<string, ListStringValue> to h. The key comes first in what every
// implementation writes; an entry in another order is read in two passes.
func (in *inbound) readEntry(h channel.Header, entry []byte) (channel.Header, error) {
	var name string
	var list []byte
	err := each(entry, func(field protowire.Number, value wireValue) error {
		switch field {
		case entryKey:
			name = text(value.bytes)
		case entryValue:
			list = value.bytes
		}
		return nil
	})
	if err != nil {
		return h, err
	}
	return in.addValues(h, name, list)
}

func (in *inbound) addValues(h channel.Header, name string, list []byte) (channel.Header, error) {
	isType, isLength := sameName(name, typeHeader), sameName(name, lengthHeader)
	binary := isBinary(name)
	err := each(list, func(field protowire.Number, value wireValue) error {
		switch {
		case field != listValue:
		case isType:
			in.fallbackType(text(value.bytes))
		case isLength:
			in.length = declaredLength(name, text(value.bytes))
		case len(h) == maxFields:
			return errTooManyFields
		case binary:
			h = append(h, channel.Field{Name: name, Value: decodeBinary(value.bytes)})
		default:
			h = append(h, channel.Field{Name: name, Value: text(value.bytes)})
		}
		return nil
	})
	return h, err
}

// fallbackType takes the content type of the headers where the message names none (the event streams of
// Dapr's sidecars). That of gRPC itself says nothing about the payload.
func (in *inbound) fallbackType(value string) {
	if in.contentType == "" && !strings.HasPrefix(value, "application/grpc") {
		in.contentType = value
	}
}

func declaredLength(name, value string) int64 {
	if name != lengthHeader {
		return -1
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

func decodeBinary(value []byte) string {
	raw, err := base64.StdEncoding.AppendDecode(nil, value)
	if err != nil {
		if raw, err = base64.RawStdEncoding.AppendDecode(nil, value); err != nil {
			return text(value)
		}
	}
	return text(raw)
}

// wireValue is the value of one field: number for a varint, else bytes.
type wireValue struct {
	number uint64
	bytes  []byte
}

// each calls visit for the varint and length-delimited fields of a message, in order.
func each(b []byte, visit func(protowire.Number, wireValue) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		var value wireValue
		switch kind {
		case protowire.VarintType:
			value.number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			value.bytes, n = protowire.ConsumeBytes(b)
		default:
			if n = protowire.ConsumeFieldValue(field, kind, b); n >= 0 {
				b = b[n:]
				continue
			}
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if err := visit(field, value); err != nil {
			return err
		}
	}
	return nil
}

// text is b as a string without a copy: b is part of an arena that outlives it.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
