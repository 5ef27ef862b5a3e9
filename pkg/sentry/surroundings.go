package sentry

import (
	"context"
	"fmt"

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
	cluster, err := newCluster(s.cfg.Kubeconfig)
	if err != nil {
		return nil, err
	}
	found, err := cluster.configuration(ctx, s.own.namespace, s.cfg.Configuration)
	if err != nil {
		_ = cluster.close()
		return nil, s.noConfiguration(err)
	}
	return &surroundings{
		mtls:      found.Spec.MTLS,
		validator: &pods{cluster, s.own},
		store:     &secret{cluster: cluster, namespace: s.own.namespace, names: newNames(&s.cfg)},
		close:     cluster.close,
	}, nil
}

func (s *Sentry) noConfiguration(err error) error {
	return fmt.Errorf("loading default config. couldn't find config name %q: %w", s.cfg.Configuration, err)
}
