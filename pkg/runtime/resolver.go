package runtime

import (
	"context"
	"errors"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/nameresolution/registry"
)

// openResolver binds the internal port, then announces it.
func (r *Runtime) openResolver(ctx context.Context) (ending, error) {
	if err := r.bindInternal(ctx); err != nil {
		return ending{}, err
	}
	name := r.configuration.Spec.NameResolution.Component
	if name == "" {
		name = "mdns"
		if r.cfg.Mode == Kubernetes {
			name = "kubernetes"
		}
	}
	resolver, err := r.newResolver(ctx, name)
	if err != nil {
		r.log.Warnf("failed to init name resolution: %s; calls to other sidecars will fail", err)
		return ending{close: r.closeInternal}, nil
	}
	cache := nameresolution.NewCache(resolver, nameresolution.CacheTTL, nameresolution.CacheSize)
	r.announce(ctx, resolver)
	r.resolver.Fill(cache)
	r.log.Infof("Initialized name resolution to %s", name)
	return ending{
		withdraw: func() { r.withdraw(resolver) },
		close: func(ctx context.Context) error {
			r.resolver.Empty()
			return errors.Join(cache.Close(), closeAny(resolver), r.closeInternal(ctx))
		},
	}, nil
}

// newResolver makes the resolver of the name; mDNS is asked after the registry of this machine.
func (r *Runtime) newResolver(ctx context.Context, name string) (nameresolution.Resolver, error) {
	spec := r.configuration.Spec.NameResolution
	factory, err := r.deps.Components.Resolver.Factory(name, spec.Version)
	if err != nil {
		return nil, err
	}
	properties, err := config.Properties(spec.Configuration)
	if err != nil {
		return nil, err
	}
	resolver, err := factory(ctx, &components.Spec{Name: "nr", Type: name, Version: spec.Version, Properties: properties,
		AppID: r.cfg.AppID, Namespace: r.cfg.Namespace, Log: r.deps.Logs.Scope("dapr.contrib")})
	if err != nil || name != "mdns" {
		return resolver, err
	}
	local, err := registry.Open(registry.Path())
	if err == nil {
		return nameresolution.Chain{local, resolver}, nil
	}
	r.log.Warnf("the registry of this machine's sidecars cannot be used, mDNS goes on: %s", err)
	return resolver, nil
}

func (r *Runtime) announce(ctx context.Context, resolver nameresolution.Resolver) {
	announcer, ok := resolver.(nameresolution.Announcer)
	if !ok {
		return
	}
	err := announcer.Announce(ctx, nameresolution.Announcement{AppID: r.cfg.AppID, Namespace: r.cfg.Namespace,
		Host: r.cfg.HostAddress, Port: port(r.InternalAddress()), HTTPPort: r.cfg.HTTPPort, AppPort: r.cfg.AppPort})
	if err != nil {
		r.log.Warnf("this sidecar could not be announced everywhere: %s", err)
	}
}

func (r *Runtime) withdraw(resolver nameresolution.Resolver) {
	if w, ok := resolver.(nameresolution.Withdrawer); ok {
		ctx, cancel := within(r.cfg.Grace)
		defer cancel()
		if err := w.Withdraw(ctx); err != nil {
			r.log.Warnf("withdraw the name %s: %s", r.cfg.AppID, err)
		}
	}
}

func closeAny(v any) error {
	if c, ok := v.(interface{ Close() error }); ok {
		return c.Close()
	}
	return nil
}
