package runtime

import (
	"context"
	"fmt"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/grpc"
)

func (r *Runtime) serveGRPC(ctx context.Context) (ending, error) {
	r.log.Info("gRPC proxy enabled")
	server := grpc.New(grpc.Config{
		MaxBodySize: r.cfg.MaxBodySize, ReadBufferSize: r.cfg.ReadBufferSize, Token: r.cfg.APIToken,
		Allowed: grpcRules(r.configuration.Spec.API.Allowed), Denied: grpcRules(r.configuration.Spec.API.Denied),
		NoTracing: r.tracer.Off(),
	}, r.grpcDeps())
	end := ending{quiesce: server.Quiesce, close: server.Close}
	if err := r.listenGRPC(ctx, server); err != nil {
		return end, fmt.Errorf("failed to start API gRPC server: %w; --dapr-grpc-port chooses another port", err)
	}
	server.Serve()
	if r.cfg.UnixSocketDir != "" {
		r.log.Info("API gRPC server is running on a unix domain socket")
	} else {
		r.log.Infof("API gRPC server is running on port %d", port(r.GRPCAddress()))
	}
	return end, nil
}

func (r *Runtime) grpcDeps() grpc.Deps {
	deps := grpc.Deps{Blocks: r.blocks, Proxy: r.proxy.Serve, Log: r.deps.Logs.Scope("dapr.runtime.grpc.api"), Observer: r.metrics,
		Tracer: r.tracer}
	if r.apiLogging() {
		deps.APILog = r.deps.Logs.Scope("dapr.runtime.grpc.api-info")
	}
	return deps
}

func (r *Runtime) listenGRPC(ctx context.Context, server *grpc.Server) error {
	if r.cfg.UnixSocketDir != "" {
		return server.ListenUnix(ctx, r.socket("grpc"))
	}
	if err := server.Listen(ctx, r.cfg.ListenAddresses, r.cfg.GRPCPort); err != nil {
		return err
	}
	r.addresses.set(&r.addresses.grpc, server.Addresses()[0])
	return nil
}

func grpcRules(rules []config.APIRule) (list []grpc.Rule) {
	for _, rule := range rules {
		if rule.Protocol == config.ProtocolGRPC {
			list = append(list, grpc.Rule{Name: rule.Name, Version: rule.Version})
		}
	}
	return list
}
