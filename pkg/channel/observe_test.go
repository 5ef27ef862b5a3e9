package channel

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
)

// tally is what an observer was told, in order.
type tally struct{ told []string }

func (o *tally) HTTPCalled(verb, path string, status int, sent, received int64, elapsed time.Duration) {
	o.told = append(o.told, fmt.Sprint(verb, " ", path, " ", status, " ", sent, " ", received, " ", elapsed > 0))
}

func (o *tally) GRPCCalled(method string, code codes.Code, received, sent int, elapsed time.Duration) {
	o.told = append(o.told, fmt.Sprint(method, " ", code, " ", received, " ", sent, " ", elapsed > 0))
}

// TestHTTPObserved: every call is told of when its answer is over, whatever became of it; probes are not.
func TestHTTPObserved(t *testing.T) {
	for _, protocol := range []string{"http", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			address := serveHTTP(t, protocol, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				switch r.URL.Path {
				case "/none":
					w.WriteHeader(http.StatusNoContent)
				case "/gone":
					panic(http.ErrAbortHandler)
				default:
					_, _ = w.Write(body)
				}
			})
			seen := &tally{}
			app := openTest(t, Settings{Protocol: protocol, Address: address, Observer: seen})
			ask := func(method string, body Body) {
				t.Helper()
				res, err := app.Invoke(t.Context(), &Request{Verb: "PUT", Method: method, Query: "q=1", Body: body})
				if err != nil {
					return
				}
				if _, err := io.Copy(io.Discard, res.Body.Reader()); err != nil {
					t.Error(err)
				}
				res.Close()
				res.Close()
			}
			ask("echo/a", Body{Bytes: []byte("12345")})
			ask("none", Body{})
			ask("echo/large", Body{Bytes: make([]byte, 200<<10)})
			ask("echo/stream", Body{Stream: strings.NewReader("123"), Length: -1})
			ask("gone", Body{Bytes: []byte("12")})
			if _, err := app.Probe(t.Context(), "/healthz"); err != nil {
				t.Error(err)
			}
			want := []string{"PUT echo/a 200 5 5 true", "PUT none 204 0 0 true", "PUT echo/large 200 204800 204800 true", "PUT echo/stream 200 -1 3 true",
				"PUT gone 500 2 -1 true"}
			if diff := cmp.Diff(want, seen.told); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestGRPCObserved: unary calls of a gRPC application are told of, probes are not.
func TestGRPCObserved(t *testing.T) {
	seen := &tally{}
	address := serveCallback(t, func(_ context.Context, in *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
		return &commonv1.InvokeResponse{ContentType: in.GetContentType()}, nil
	})
	app := openTest(t, Settings{Protocol: "grpc", Address: address, Observer: seen})
	res, err := app.Invoke(t.Context(), &Request{Method: "m", ContentType: "ct"})
	if err != nil {
		t.Fatal(err)
	}
	res.Close()
	_, _ = app.Probe(t.Context(), "")
	want := []string{"/dapr.proto.runtime.v1.AppCallback/OnInvoke OK 4 9 true"}
	if diff := cmp.Diff(want, seen.told); diff != "" {
		t.Error(diff)
	}
}
