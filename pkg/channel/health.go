package channel

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/security"
)

// Prober is the application as something that may be ill.
type Prober interface {
	// Probe is nil when the application says that it is well: a 2xx of GET path, or an OK of the gRPC health
	// callback. It passes by the bound on calls at once and by the pipeline, and carries no token, as in Dapr. The
	// status is that of the answer: an HTTP status (100 and up) or a gRPC code, as in Response; an HTTP application
	// that could not be reached counts as 500.
	Probe(ctx context.Context, path string) (status int, err error)
}

// Probe gets path.
func (a *http1) Probe(ctx context.Context, path string) (int, error) {
	plain := newHTTP1(a.target.withoutToken(), a.pool)
	return ask(ctx, plain.call, path)
}

// Probe gets path.
func (a *h2c) Probe(ctx context.Context, path string) (int, error) {
	plain := &h2c{target: a.target.withoutToken(), transport: a.transport}
	return ask(ctx, plain.call, path)
}

func (t *target) withoutToken() target {
	plain := *t
	plain.token = security.Token{}
	return plain
}

func ask(ctx context.Context, send sender, path string) (int, error) {
	method, query, err := bindingTarget(path)
	if err != nil {
		return http.StatusInternalServerError, fmt.Errorf("--app-health-check-path %q: %w", path, err)
	}
	res, err := send(ctx, &Request{Verb: http.MethodGet, Method: method, Query: query})
	if err != nil {
		return http.StatusInternalServerError, err
	}
	defer res.Close()
	if res.Status/100 != 2 {
		return res.Status, fmt.Errorf("GET %s answers %d", path, res.Status)
	}
	return res.Status, nil
}

// Probe calls AppCallbackHealthCheck/HealthCheck. An application that does not implement it is ill, as in Dapr.
func (a *grpcApp) Probe(ctx context.Context, _ string) (int, error) {
	err := a.conn.Invoke(ctx, runtimev1.AppCallbackHealthCheck_HealthCheck_FullMethodName, &emptypb.Empty{}, &runtimev1.HealthCheckResponse{})
	code := status.Code(err)
	if code == codes.Unimplemented {
		err = errors.New("the app does not serve dapr.proto.runtime.v1.AppCallbackHealthCheck: health checks of gRPC apps call it")
	}
	return int(code), err
}
