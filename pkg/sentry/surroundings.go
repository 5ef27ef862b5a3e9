package sentry

import (
	"context"
	"fmt"

	"github.com/daprd/daprd/pkg/cluster"
	"github.com/daprd/daprd/pkg/config"
)

// surroundings are what a mode brings.
type surroundings struct {
	// mtls is what the Configuration says.
	mtls config.MTLSSpec
	// validator is for requests that name none.
	validator validator
	store     store
	close     func() error
}

func (s *Sentry) surroundings(ctx context.Context) (*surroundings, error) {
	if s.cfg.Mode == Kubernetes {
		return s.kubernetes(ctx)
	}
	return s.standalone()
}

func (s *Sentry) standalone() (*surroundings, error) {
	at := &surroundings{validator: insecure{}}
	if s.cfg.Configuration != "" {
		found, err := config.ReadConfiguration(s.cfg.Configuration)
		if err != nil {
			return nil, s.noConfiguration(err)
		}
		at.mtls = found.Spec.MTLS
	}
	files, err := newFiles(&s.cfg)
	if err != nil {
		return nil, err
	}
	at.store, at.close = files, files.close
	return at, nil
}

func (s *Sentry) kubernetes(ctx context.Context) (*surroundings, error) {
	api, err := cluster.New(s.cfg.Kubeconfig, "dapr-sentry")
	if err != nil {
		return nil, err
	}
	found, err := api.Configuration(ctx, s.own.namespace, s.cfg.Configuration)
	if err != nil {
		_ = api.Close()
		return nil, s.noConfiguration(err)
	}
	return &surroundings{
		mtls:      found.Spec.MTLS,
		validator: &pods{api, s.own},
		store:     &secret{cluster: api, namespace: s.own.namespace, names: newNames(&s.cfg), tokens: s.cfg.JWT.Enabled},
		close:     api.Close,
	}, nil
}

func (s *Sentry) noConfiguration(err error) error {
	return fmt.Errorf("loading default config. couldn't find config name %q: %w", s.cfg.Configuration, err)
}
