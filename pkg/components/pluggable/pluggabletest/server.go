// Package pluggabletest makes component processes for tests: it serves stores, brokers and bindings of Go on a socket,
// by dapr.proto.components.v1, as the SDKs for component processes do.
package pluggabletest

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/bindings"
	componentsv1 "github.com/daprd/daprd/pkg/proto/components/v1"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/secrets"
	"github.com/daprd/daprd/pkg/state"
)

// Parts are what a process has; nil parts are not served.
type Parts struct {
	State  state.Store
	Broker pubsub.Broker
	Input  bindings.Input
	Output bindings.Output
	Secret secrets.Store
	// Refuse is the error of every Init, "" for none.
	Refuse string
}

// Process serves Parts.
type Process struct {
	parts  Parts
	server *grpc.Server
	done   sync.WaitGroup

	mu         sync.Mutex
	instances  []string
	properties map[string]string
}

// Serve serves on the socket at path until Stop.
func Serve(path string, parts Parts) (*Process, error) {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	p := &Process{parts: parts, server: grpc.NewServer()}
	if parts.State != nil {
		componentsv1.RegisterStateStoreServer(p.server, &stateServer{Process: p})
		if t, ok := parts.State.(state.Transactor); ok {
			componentsv1.RegisterTransactionalStateStoreServer(p.server, &transactServer{store: t})
			componentsv1.RegisterTransactionalStoreMultiMaxSizeServer(p.server, &sizeServer{})
		}
	}
	if parts.Broker != nil {
		componentsv1.RegisterPubSubServer(p.server, &brokerServer{Process: p})
	}
	if parts.Input != nil {
		componentsv1.RegisterInputBindingServer(p.server, &inputServer{Process: p})
	}
	if parts.Output != nil {
		componentsv1.RegisterOutputBindingServer(p.server, &outputServer{Process: p})
	}
	if parts.Secret != nil {
		componentsv1.RegisterSecretStoreServer(p.server, &secretServer{Process: p})
	}
	reflection.Register(p.server)
	p.done.Go(func() { _ = p.server.Serve(listener) })
	return p, nil
}

// Stop ends the process at once.
func (p *Process) Stop() {
	p.server.Stop()
	p.done.Wait()
}

// Seen are the names of the resources that were initialised, and the properties of the last one.
func (p *Process) Seen() ([]string, map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.instances...), p.properties
}

func (p *Process) init(ctx context.Context, properties *componentsv1.MetadataRequest) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	md, _ := metadata.FromIncomingContext(ctx)
	p.instances = append(p.instances, strings.Join(md["x-component-instance"], ","))
	p.properties = properties.GetProperties()
	if p.parts.Refuse != "" {
		return errors.New(p.parts.Refuse)
	}
	return nil
}

// refusal is a refused entity tag as a process tells it.
func refusal(err error) error {
	tag, ok := state.IsETag(err)
	if !ok {
		return err
	}
	code := codes.FailedPrecondition
	if tag.Kind == state.ETagInvalid {
		code = codes.InvalidArgument
	}
	description := ""
	if tag.Cause != nil {
		description = tag.Cause.Error()
	}
	st, detailErr := status.New(code, err.Error()).WithDetails(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
		{Field: "etag", Description: description}}})
	if detailErr != nil {
		return detailErr
	}
	return st.Err()
}
