package wire_test

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/grpc/mem"

	"github.com/daprd/daprd/pkg/proto/wire"
)

// pool counts what comes back to it.
type pool struct{ returned int }

func (*pool) Get(size int) *[]byte { b := make([]byte, size); return &b }
func (p *pool) Put(*[]byte)        { p.returned++ }

func TestFrameHoldsItsBuffer(t *testing.T) {
	var (
		codec   wire.Codec
		owner   pool
		content = []byte(strings.Repeat("frame", 1000))
		raw     = bytes.Clone(content)
		arrived = mem.BufferSlice{mem.NewBuffer(&raw, &owner)}
		frame   wire.Frame
	)
	if err := codec.Unmarshal(arrived, &frame); err != nil {
		t.Fatal(err)
	}
	arrived.Free() // as gRPC does once the codec returned

	var sent []mem.BufferSlice
	for range 2 {
		data, err := codec.Marshal(&frame)
		if err != nil {
			t.Fatal(err)
		}
		if got := data[0].ReadOnlyData(); &got[0] != &raw[0] {
			t.Error("the frame was copied")
		}
		sent = append(sent, data)
	}
	frame.Free()
	frame.Free()
	if frame.Len() != 0 {
		t.Errorf("a freed frame has %d bytes", frame.Len())
	}
	sent[0].Free()
	if owner.returned != 0 {
		t.Fatal("the buffer went back while a message still used it")
	}
	if !bytes.Equal(sent[1].Materialize(), content) {
		t.Error("the message changed")
	}
	sent[1].Free()
	if owner.returned != 1 {
		t.Errorf("the buffer went back %d times, want once", owner.returned)
	}
}

func TestFrameIsReceivedIntoAgain(t *testing.T) {
	var (
		codec wire.Codec
		owner pool
		frame wire.Frame
	)
	for i := range 3 {
		raw := bytes.Repeat([]byte{byte(i)}, 2000)
		arrived := mem.BufferSlice{mem.NewBuffer(&raw, &owner)}
		if err := codec.Unmarshal(arrived, &frame); err != nil {
			t.Fatal(err)
		}
		arrived.Free()
		if !bytes.Equal(frame.Bytes(), bytes.Repeat([]byte{byte(i)}, 2000)) {
			t.Errorf("message %d is another one", i)
		}
		if owner.returned != i {
			t.Errorf("%d buffers came back after message %d", owner.returned, i)
		}
	}
}

func TestFrameErrors(t *testing.T) {
	frame := wire.NewFrame(mem.BufferSlice{mem.SliceBuffer("x")})
	frame.Free()
	_, err := wire.Codec{}.Marshal(frame)
	if err == nil || err.Error() != "marshal *wire.Frame: the frame was freed before" {
		t.Errorf("error %v", err)
	}
	if err := (wire.Codec{}).Unmarshal(nil, frame); err != nil {
		t.Fatal(err)
	}
	if data, err := (wire.Codec{}).Marshal(frame); err != nil || data.Len() != 0 {
		t.Errorf("an empty message after that is %d bytes, error %v", data.Len(), err)
	}
}
