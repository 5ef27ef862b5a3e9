// Package wire is the gRPC codec of every server and connection of this
// project. It writes and reads without reflection what can be, and passes
// proxied messages through unread. It must not know which services exist, and it
// registers nothing: hand [Codec] to grpc.ForceServerCodecV2 and
// grpc.ForceCodecV2.
package wire

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

var _ encoding.CodecV2 = Codec{}

// Message is a message that is written and read by hand, for paths where even
// generated code costs too much.
type Message interface {
	// SizeWire returns the number of bytes that MarshalWire appends.
	SizeWire() int
	// MarshalWire appends the message's wire form to dst, which has room for
	// SizeWire bytes, and returns the extended slice.
	MarshalWire(dst []byte) ([]byte, error)
	// UnmarshalWire replaces what the message holds by what src says. src is
	// used again after the call, so nothing of it may be kept.
	UnmarshalWire(src []byte) error
}

// generated is what vtproto adds to the messages of the busy packages.
type generated interface {
	SizeVT() int
	MarshalToSizedBufferVT(dst []byte) (int, error)
	UnmarshalVT(src []byte) error
	Reset()
}

// errNotMessage is what a value is refused with that has no wire form.
var errNotMessage = errors.New("it is neither a protobuf message nor a frame")

// Codec is protobuf for gRPC. It takes, in this order: a [Message], a [*Frame],
// a message with vtproto's methods, and any other [proto.Message]. vtproto does
// not look whether strings are valid UTF-8, and refuses a known field of another
// wire type, which protobuf's own reader passes over as unknown.
// The zero value is ready, and safe for use by many goroutines.
type Codec struct{}

// Name is protobuf's content subtype, so that peers use their own codec.
func (Codec) Name() string { return "proto" }

// Marshal returns the wire form of v. An error names v's type.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	data, err := marshal(v)
	if err != nil {
		return nil, fmt.Errorf("marshal %T: %w", v, err)
	}
	return data, nil
}

func marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case Message:
		return pack(m, m.SizeWire(), writeMessage)
	case *Frame:
		return m.share()
	case generated:
		return pack(m, m.SizeVT(), writeGenerated)
	case proto.Message:
		return pack(m, proto.Size(m), writeReflected)
	}
	return nil, errNotMessage
}

// Unmarshal replaces what v holds by what data says. Only a [Frame] keeps a
// reference to data. An error names v's type.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	if err := unmarshal(data, v); err != nil {
		return fmt.Errorf("unmarshal %T: %w", v, err)
	}
	return nil
}

func unmarshal(data mem.BufferSlice, v any) error {
	if frame, ok := v.(*Frame); ok {
		frame.take(data)
		return nil
	}
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	switch m := v.(type) {
	case Message:
		return m.UnmarshalWire(buffer.ReadOnlyData())
	case generated:
		// UnmarshalVT merges; gRPC's callers may read into one message many times.
		m.Reset()
		return m.UnmarshalVT(buffer.ReadOnlyData())
	case proto.Message:
		return proto.Unmarshal(buffer.ReadOnlyData(), m)
	}
	return errNotMessage
}

// Size is that of a message on the wire, in bytes; 0 for what is none.
func Size(message any) int {
	switch m := message.(type) {
	case generated:
		return m.SizeVT()
	case Message:
		return m.SizeWire()
	case proto.Message:
		return proto.Size(m)
	}
	return 0
}
