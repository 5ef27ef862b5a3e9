package grpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/crypto"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

// cryptoGroups are the methods of cryptography.
func cryptoGroups() []group {
	words := strings.Fields
	return []group{
		{key: "crypto.v1alpha1", methods: words("EncryptAlpha1 DecryptAlpha1")},
		{key: "subtlecrypto.v1alpha1", methods: words(`SubtleGetKeyAlpha1
			SubtleEncryptAlpha1 SubtleDecryptAlpha1 SubtleWrapKeyAlpha1 SubtleUnwrapKeyAlpha1 SubtleSignAlpha1
			SubtleVerifyAlpha1`)},
	}
}

const (
	// firstMessage is how long the first message of a document may take (reference: grpc-api 9).
	firstMessage = 5 * time.Second
	// pieceSize is the most of a document in one message: a sealed segment fits.
	pieceSize = 65536 + 16
)

var errNoOptions = apierr.BadRequest.New("first message does not contain the required options")

// EncryptAlpha1 encrypts a stream.
func (h *handlers) EncryptAlpha1(stream grpc.BidiStreamingServer[runtimev1.EncryptRequest, runtimev1.EncryptResponse]) error {
	first, err := firstOf(stream.Recv)
	if err != nil {
		return err
	}
	options := first.GetOptions()
	switch {
	case options == nil:
		return errNoOptions
	case options.GetKeyName() == "":
		return apierr.BadRequest.New("missing property 'keyName' in the options message")
	case options.GetKeyWrapAlgorithm() == "":
		return apierr.BadRequest.New("missing property 'keyWrapAlgorithm' in the options message")
	}
	plaintext := newDocument(first.GetPayload(), func() (bool, *commonv1.StreamPayload, error) {
		message, err := stream.Recv()
		return message.GetOptions() != nil, message.GetPayload(), err
	})
	document, err := h.blocks.Crypto.Encrypt(stream.Context(), options.GetComponentName(), crypto.EncryptOptions{
		KeyName:           options.GetKeyName(),
		Algorithm:         options.GetKeyWrapAlgorithm(),
		Cipher:            options.GetDataEncryptionCipher(),
		OmitKeyName:       options.GetOmitDecryptionKeyName(),
		DecryptionKeyName: options.GetDecryptionKeyName(),
	}, plaintext)
	if err != nil {
		return err
	}
	return sendDocument(document, func(p *commonv1.StreamPayload) error { return stream.Send(&runtimev1.EncryptResponse{Payload: p}) })
}

// DecryptAlpha1 decrypts a stream.
func (h *handlers) DecryptAlpha1(stream grpc.BidiStreamingServer[runtimev1.DecryptRequest, runtimev1.DecryptResponse]) error {
	first, err := firstOf(stream.Recv)
	if err != nil {
		return err
	}
	options := first.GetOptions()
	if options == nil {
		return errNoOptions
	}
	document := newDocument(first.GetPayload(), func() (bool, *commonv1.StreamPayload, error) {
		message, err := stream.Recv()
		return message.GetOptions() != nil, message.GetPayload(), err
	})
	plaintext, err := h.blocks.Crypto.Decrypt(stream.Context(), options.GetComponentName(), options.GetKeyName(), document)
	if err != nil {
		return err
	}
	return sendDocument(plaintext, func(p *commonv1.StreamPayload) error { return stream.Send(&runtimev1.DecryptResponse{Payload: p}) })
}

// firstOf waits for the first message for as long as it may take. The receiving ends with the stream, which ends when
// the handler returns.
func firstOf[M any](recv func() (M, error)) (message M, err error) {
	type received struct {
		message M
		err     error
	}
	arrived := make(chan received, 1)
	go func() {
		message, err := recv()
		arrived <- received{message, err}
	}()
	timer := time.NewTimer(firstMessage)
	defer timer.Stop()
	select {
	case r := <-arrived:
		if r.err != nil {
			return message, apierr.Crypto.New(fmt.Errorf("error receiving the first message: %w", r.err))
		}
		return r.message, nil
	case <-timer.C:
		return message, apierr.BadRequest.New(fmt.Sprintf("error waiting for first message: %s", context.DeadlineExceeded))
	}
}

// document is what the messages of a stream bring, in one piece.
type document struct {
	next func() (options bool, payload *commonv1.StreamPayload, err error)
	// expected is the number of the next payload.
	expected uint64
	rest     []byte
	first    *commonv1.StreamPayload
}

func newDocument(first *commonv1.StreamPayload, next func() (bool, *commonv1.StreamPayload, error)) *document {
	return &document{next: next, first: first}
}

var errLateOptions = errors.New("options found in non-leading message")

// Read gives the payloads in the order of their numbers, which have no gaps.
func (d *document) Read(p []byte) (int, error) {
	for len(d.rest) == 0 {
		payload := d.first
		if d.first = nil; payload == nil {
			options, received, err := d.next()
			switch {
			case err != nil:
				return 0, err
			case options:
				return 0, errLateOptions
			}
			payload = received
		}
		if payload == nil {
			continue
		}
		if payload.GetSeq() != d.expected {
			return 0, fmt.Errorf("invalid sequence number received: %d (expected: %d)", payload.GetSeq(), d.expected)
		}
		d.expected++
		d.rest = payload.GetData()
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// sendDocument sends a document in numbered pieces.
func sendDocument(document io.ReadCloser, send func(*commonv1.StreamPayload) error) error {
	defer document.Close()
	piece := make([]byte, pieceSize)
	for seq := uint64(0); ; seq++ {
		n, err := document.Read(piece)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := send(&commonv1.StreamPayload{Data: piece[:n], Seq: seq}); err != nil {
			return err
		}
	}
}
