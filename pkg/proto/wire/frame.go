package wire

import (
	"errors"

	"google.golang.org/grpc/mem"
)

var errFreed = errors.New("the frame was freed before")

// Frame is one message of a call that is passed on unread. The zero value is an
// empty message, and what RecvMsg reads into. A frame that was received can be
// sent any number of times; whoever received it frees it once afterwards. It is
// not safe for use by several goroutines at once.
type Frame struct {
	data  mem.BufferSlice
	freed bool
}

// NewFrame makes a frame of data, whose reference it takes over.
func NewFrame(data mem.BufferSlice) *Frame {
	return &Frame{data: data}
}

// Len returns the message's size in bytes.
func (f *Frame) Len() int { return f.data.Len() }

// Bytes returns a copy of the message.
func (f *Frame) Bytes() []byte { return f.data.Materialize() }

// Free lets the buffers go. Freeing twice does nothing more; sending a freed
// frame is an error, until something is received into it again.
func (f *Frame) Free() {
	f.data.Free()
	f.data, f.freed = nil, true
}

// take keeps data, whose owner frees it when the codec returns.
func (f *Frame) take(data mem.BufferSlice) {
	data.Ref()
	f.data.Free()
	f.data, f.freed = data, false
}

// share returns the buffers with a reference of their own: gRPC frees what a
// codec gives it.
func (f *Frame) share() (mem.BufferSlice, error) {
	if f.freed {
		return nil, errFreed
	}
	f.data.Ref()
	return f.data[:len(f.data):len(f.data)], nil
}
