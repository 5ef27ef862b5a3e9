package wire

import (
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// pack has write fill a buffer of exactly size bytes with m. Pooled are the
// sizes that gRPC pools itself.
func pack[M any](m M, size int, write func(M, []byte) error) (mem.BufferSlice, error) {
	if mem.IsBelowBufferPoolingThreshold(size) {
		dst := make([]byte, size)
		if err := write(m, dst); err != nil {
			return nil, err
		}
		return mem.BufferSlice{mem.SliceBuffer(dst)}, nil
	}
	pool := mem.DefaultBufferPool()
	dst := pool.Get(size)
	if err := write(m, *dst); err != nil {
		pool.Put(dst)
		return nil, err
	}
	return mem.BufferSlice{mem.NewBuffer(dst, pool)}, nil
}

func writeMessage(m Message, dst []byte) error {
	out, err := m.MarshalWire(dst[:0:len(dst)])
	if err != nil {
		return err
	}
	return filled(dst, out)
}

func writeGenerated(m generated, dst []byte) error {
	n, err := m.MarshalToSizedBufferVT(dst)
	if err != nil {
		return err
	}
	if n != len(dst) {
		return sizeError(n, len(dst))
	}
	return nil
}

func writeReflected(m proto.Message, dst []byte) error {
	// The size was computed for this very call, so the cached one is right.
	out, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(dst[:0:len(dst)], m)
	if err != nil {
		return err
	}
	return filled(dst, out)
}

// filled checks that out is dst: a pooled buffer that was not written over
// holds bytes of some other message, which must never leave.
func filled(dst, out []byte) error {
	if len(out) != len(dst) || len(out) > 0 && &out[0] != &dst[0] {
		return sizeError(len(out), len(dst))
	}
	return nil
}

func sizeError(wrote, size int) error {
	return fmt.Errorf("wrote %d bytes where its size was %d (was it changed while it was sent?)", wrote, size)
}
