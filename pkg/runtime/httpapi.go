package runtime

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/http"
)

func (r *Runtime) serveHTTP(ctx context.Context) (ending, error) {
	log := r.deps.Logs.Scope("dapr.runtime.http")
	spec := r.configuration.Spec
	if r.middleware.HTTP.Len() > 0 {
		r.deps.Logs.Scope("dapr.middleware.http").Info("Building pipeline server")
	}
	server := http.New(http.Config{
		MaxBodySize: r.cfg.MaxBodySize, ReadBufferSize: int(r.cfg.ReadBufferSize), AllowedOrigins: r.cfg.AllowedOrigins,
		Token: r.cfg.APIToken, DisableHTTP2: r.cfg.DisableH2C,
		Allowed: httpRules(spec.API.Allowed), Denied: httpRules(spec.API.Denied),
		ObfuscateURLs: spec.Logging.APILogging.ObfuscateURLs, OmitHealthChecks: spec.Logging.APILogging.OmitHealthChecks,
		NoTracing: r.tracer.Off(),
	}, r.httpDeps())
	end := ending{quiesce: server.Quiesce, close: func(context.Context) error { return server.Close() }}
	if err := r.listenHTTP(ctx, server); err != nil {
		return end, fmt.Errorf("failed to start HTTP server: %w", err)
	}
	server.Serve()
	if r.cfg.EnableProfiling {
		profiling, err := http.ListenProfiling(ctx, r.cfg.ListenAddresses, r.cfg.ProfilePort, log)
		if err != nil {
			return end, fmt.Errorf("failed to start profiling server: %w; --profile-port chooses another port", err)
		}
		end.close = func(context.Context) error { return errors.Join(profiling.Close(), server.Close()) }
	}
	if r.cfg.UnixSocketDir != "" {
		r.log.Info("http server is running on a unix domain socket")
	} else {
		r.log.Infof("http server is running on port %d", port(r.HTTPAddress()))
	}
	r.log.Infof("The request body size parameter is: %s", megabytes(r.cfg.MaxBodySize))
	return end, nil
}

func (r *Runtime) httpDeps() http.Deps {
	deps := http.Deps{Blocks: r.blocks, Log: r.deps.Logs.Scope("dapr.runtime.http"), Observer: r.metrics, Pipeline: r.middleware.HTTP,
		Tracer: r.tracer}
	if r.apiLogging() {
		deps.APILog = r.deps.Logs.Scope("dapr.runtime.http-info")
	}
	return deps
}

func (r *Runtime) apiLogging() bool {
	if r.cfg.APILogging != nil {
		return *r.cfg.APILogging
	}
	return r.configuration.Spec.Logging.APILogging.Enabled
}

func (r *Runtime) listenHTTP(ctx context.Context, server *http.Server) error {
	if r.cfg.UnixSocketDir != "" {
		return server.ListenUnix(ctx, r.socket("http"))
	}
	if err := server.Listen(ctx, r.cfg.ListenAddresses, r.cfg.HTTPPort); err != nil {
		return fmt.Errorf("%w; --dapr-http-port chooses another port", err)
	}
	r.addresses.set(&r.addresses.http, server.Addresses()[0])
	if r.cfg.PublicPort == 0 {
		return nil
	}
	if err := server.ListenPublic(ctx, r.cfg.PublicListenAddress, r.cfg.PublicPort); err != nil {
		return fmt.Errorf("public port: %w; --dapr-public-port chooses another port", err)
	}
	return nil
}

func (r *Runtime) socket(kind string) string {
	return filepath.Join(r.cfg.UnixSocketDir, "dapr-"+r.cfg.AppID+"-"+kind+".socket")
}

// megabytes is a limit as the trace writes it: a number of MiB, 4 for one.
func megabytes(limit int64) string {
	if limit <= 0 {
		return "unlimited"
	}
	return strconv.FormatFloat(float64(limit)/(1<<20), 'f', -1, 64)
}

func httpRules(rules []config.APIRule) (list []http.Rule) {
	for _, rule := range rules {
		if rule.Protocol == config.ProtocolHTTP {
			list = append(list, http.Rule{Name: rule.Name, Version: rule.Version})
		}
	}
	return list
}
