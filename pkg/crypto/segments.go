package crypto

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

const (
	// segmentSize is how much plaintext a segment holds; only the last may hold less, but never nothing.
	segmentSize = 65536
	// tagSize is what sealing adds.
	tagSize = 16
)

var errSegments = errors.New("the document is too long: it has more than 2^32 segments")

// nonces gives the nonces of a document's segments.
type nonces struct {
	prefix [noncePrefixSize]byte
	count  uint64
}

func (n *nonces) next(last bool) ([12]byte, error) {
	var nonce [12]byte
	if n.count > math.MaxUint32 {
		return nonce, errSegments
	}
	copy(nonce[:], n.prefix[:])
	binary.BigEndian.PutUint32(nonce[noncePrefixSize:], uint32(n.count))
	if last {
		nonce[11] = 1
	}
	n.count++
	return nonce, nil
}

// transform makes one segment of another: sealing or opening.
type transform func(dst, segment []byte, last bool) ([]byte, error)

// sealing seals segments.
func sealing(cipher cipher.AEAD, prefix []byte) transform {
	var n nonces
	copy(n.prefix[:], prefix)
	return func(dst, segment []byte, last bool) ([]byte, error) {
		nonce, err := n.next(last)
		if err != nil {
			return nil, err
		}
		return cipher.Seal(dst, nonce[:], segment, nil), nil
	}
}

// opening opens segments.
func opening(cipher cipher.AEAD, prefix []byte) transform {
	var n nonces
	copy(n.prefix[:], prefix)
	return func(dst, segment []byte, last bool) ([]byte, error) {
		number := n.count
		nonce, err := n.next(last)
		if err != nil {
			return nil, err
		}
		opened, err := cipher.Open(dst, nonce[:], segment, nil)
		if err != nil || len(opened) == 0 {
			return nil, fmt.Errorf("error processing segment %d: failed to decrypt segment", number)
		}
		return opened, nil
	}
}

// segments reads from source segment by segment and gives what the transform makes of each. Which segment is the
// last shows only when nothing follows it, so a byte more than the segment is read ahead.
type segments struct {
	source    io.Reader
	transform transform
	// in holds a segment and the first byte of the next; held is how much of it is filled.
	in   []byte
	held int
	out  []byte
	// rest is what of out has not been given yet.
	rest []byte
	err  error
	// release is called once, at the end of the document or of whoever reads it.
	release func()
}

// newSegments reads segments of size bytes. head is given before them.
func newSegments(source io.Reader, size int, head []byte, t transform, release func()) *segments {
	return &segments{source: source, transform: t, in: make([]byte, size+1), out: make([]byte, 0, segmentSize+tagSize), rest: head, release: release}
}

// Read gives the transformed document. An error in the middle means that what was given so far is worth nothing.
func (s *segments) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.err != nil {
			_ = s.Close()
			return 0, s.err
		}
		s.rest, s.err = s.next()
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// next transforms one segment. With the last one comes io.EOF.
func (s *segments) next() ([]byte, error) {
	n, err := io.ReadFull(s.source, s.in[s.held:])
	s.held += n
	last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case err != nil && !last:
		return nil, err
	case s.held == 0:
		return nil, io.EOF
	case last:
		out, err := s.transform(s.out, s.in[:s.held], true)
		s.held = 0
		if err != nil {
			return nil, err
		}
		return out, io.EOF
	}
	size := len(s.in) - 1
	out, err := s.transform(s.out, s.in[:size], false)
	s.in[0] = s.in[size]
	s.held = 1
	return out, err
}

// Close frees what the document holds; it may be called more than once.
func (s *segments) Close() error {
	if s.release != nil {
		s.release()
		s.release = nil
	}
	return nil
}
