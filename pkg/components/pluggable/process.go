package pluggable

import (
	"context"
	"fmt"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/daprd/daprd/pkg/components"
	componentsv1 "github.com/daprd/daprd/pkg/proto/components/v1"
	"github.com/daprd/daprd/pkg/proto/wire"
)

// instanceHeader tells a process which resource a call is for: one process may serve several.
const instanceHeader = "x-component-instance"

// process is a connection to the process of one resource.
type process struct {
	*grpc.ClientConn
	path string
}

func dial(path string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	options = append(options,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		// The process is beside us: when it is back it is found within a second.
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: introduction,
			Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}}),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.Codec{}), grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)))
	conn, err := grpc.NewClient("unix://"+path, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to the component process at %s: %w", path, err)
	}
	return conn, nil
}

// start connects to the process for a resource, initialises it there, and closes the connection when that fails.
func start(ctx context.Context, path string, spec *components.Spec, initialise func(context.Context, *process, *componentsv1.MetadataRequest) error) (*process, error) {
	named := func(ctx context.Context) context.Context {
		return metadata.AppendToOutgoingContext(ctx, instanceHeader, spec.Name)
	}
	conn, err := dial(path,
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, options ...grpc.CallOption) error {
			err := call(named(ctx), method, req, reply, conn, options...)
			if err != nil && ctx.Err() != nil {
				return ctx.Err() // whoever gave up knows its own error
			}
			return err
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
			return open(named(ctx), desc, conn, method, options...)
		}))
	if err != nil {
		return nil, err
	}
	p := &process{conn, path}
	if err := initialise(ctx, p, &componentsv1.MetadataRequest{Properties: spec.Properties}); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("init the component process at %s: %w", path, err)
	}
	return p, nil
}
