package grpc_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	googlegrpc "google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/bindings"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

// recorder is an output that keeps the last request.
type recorder struct {
	last bindings.Request
	fail error
}

func (*recorder) Operations() []string { return []string{"create"} }

func (r *recorder) Invoke(_ context.Context, req *bindings.Request) (*bindings.Response, error) {
	r.last = *req
	return &bindings.Response{Data: []byte("answer"), Metadata: map[string]string{"Key": "value", "not a name": "1", "breaks": "a\nb", "Latin": "caf\xe9", "\xff": ""}}, r.fail
}

// TestInvokeBinding: what a component learns of a call, and what the caller learns of the component.
func TestInvokeBinding(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	output := &recorder{}
	s := start(t, func(s *sidecar) {
		if err := s.bindings.Add("out", bindings.Pair{Output: output}, bindings.Settings{}); err != nil {
			t.Fatal(err)
		}
	})
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", parent, "own", "the call's", "other", "first", "other", "second",
		"dapr-api-token", "hunter2")
	request := &runtimev1.InvokeBindingRequest{Name: "out", Operation: "create", Data: []byte("\x00 no JSON"),
		Metadata: map[string]string{"own": "the request's", "traceparent": "the request's"}}
	for _, fail := range []error{nil, errors.New("it is full")} {
		output.fail = fail
		var header metadata.MD
		answer, err := s.InvokeBinding(ctx, request, googlegrpc.Header(&header))
		if fail != nil {
			refusedWithText(t, err, codes.Internal, "error invoking output binding out: it is full")
		} else if err != nil || string(answer.GetData()) != "answer" || answer.GetMetadata()["Key"] != "value" {
			t.Errorf("%v, %v", answer, err)
		} else if _, named := answer.GetMetadata()["\uFFFD"]; !named || answer.GetMetadata()["Latin"] != "caf\uFFFD" {
			t.Errorf("what is no UTF-8: %q", answer.GetMetadata())
		}
		if got := [3][]string{header["metadata.key"], header["metadata.not a name"], header["metadata.breaks"]}; !cmp.Equal(got, [3][]string{{"value"}, nil, nil}) {
			t.Errorf("headers %v", header)
		}
		if output.last.Operation != "create" || string(output.last.Data) != "\x00 no JSON" {
			t.Errorf("%+v", output.last)
		}
		for key, want := range map[string]string{"own": "the request's", "other": "first", "traceparent": parent, "dapr-authority": s.conn.Target(),
			"dapr-api-token": "", ":authority": ""} {
			if got := output.last.Metadata[key]; got != want {
				t.Errorf("%s: %q, want %q", key, got, want)
			}
		}
	}
}

func refusedWithText(t *testing.T, err error, code codes.Code, text string) {
	t.Helper()
	if got := status.Convert(err); got.Code() != code || got.Message() != text {
		t.Errorf("%v, want %s %q", err, code, text)
	}
}
