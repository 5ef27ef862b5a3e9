package middleware

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/ready"
)

// Service holds the middleware components in service and the two pipelines. Its methods may be called by many
// goroutines at once.
type Service struct {
	log logrus.FieldLogger
	// HTTP stands in front of the API's routes, App around every HTTP call to the application.
	HTTP, App *Pipeline

	components ready.Shelf[component]
	// retiring are instances whose last calls are still under way.
	retiring sync.WaitGroup
	ending   context.Context
	cut      context.CancelFunc
}

type component struct {
	instance Middleware
	settings Settings
}

// NewService makes a Service without components; its pipelines let everything pass. Close ends it.
func NewService(log logrus.FieldLogger) *Service {
	s := &Service{log: log}
	s.ending, s.cut = context.WithCancel(context.Background())
	s.HTTP = &Pipeline{service: s, name: "httpPipeline"}
	s.App = &Pipeline{service: s, name: "appHttpPipeline"}
	return s
}

// Add takes a component into service. It has an effect when a pipeline names it.
func (s *Service) Add(name string, instance Middleware, settings Settings) error {
	if !s.components.Put(name, component{instance, settings}) {
		return fmt.Errorf("the middleware %s is there already", name)
	}
	s.log.Infof("Adding %s/%s %s middleware", settings.Type, settings.Version, name)
	s.rebuild(name, nil)
	return nil
}

// Swap puts another instance in the place of the one that is in service, if any. New calls go through the new one;
// the old one is closed when its last call is over.
func (s *Service) Swap(name string, instance Middleware, settings Settings) {
	old := s.components.Swap(name, component{instance, settings})
	s.log.Infof("Adding %s/%s %s middleware", settings.Type, settings.Version, name)
	s.rebuild(name, old)
}

// Remove takes a component out of service; it is closed when its last call is over. A pipeline that goes on naming it
// passes it over, or is closed if the component guarded it.
func (s *Service) Remove(name string) { s.rebuild(name, s.components.Remove(name)) }

// rebuild makes the pipelines anew that name the component, and closes the old instance once nobody is in it.
func (s *Service) rebuild(name string, old *ready.Held[component]) {
	s.retire(old, s.HTTP.renew(name), s.App.renew(name))
}

// retire waits in the background until the chains are empty, then closes the instance that they went through.
func (s *Service) retire(old *ready.Held[component], chains ...*Chain) {
	s.retiring.Go(func() {
		for _, chain := range chains {
			if chain != nil {
				_ = chain.uses.Drain(s.ending)
			}
		}
		if old == nil {
			return
		}
		if err := ready.Close(old.Value.instance); err != nil {
			s.log.Warnf("error closing a middleware of type %s: %s", old.Value.settings.Type, err)
		}
	})
}

// Close closes every component. Nothing runs through the pipelines any more then.
func (s *Service) Close() error {
	s.cut()
	s.retiring.Wait()
	var errs []error
	for name, c := range s.components.Clear() {
		if err := ready.Close(c.instance); err != nil {
			errs = append(errs, fmt.Errorf("close middleware %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// find gives the component that a handler means, or says why there is none.
func (s *Service) find(h Handler) (Middleware, error) {
	c, ok := s.components.Look(h.Name)
	switch {
	case !ok:
		return nil, fmt.Errorf("no component %s is loaded: check that its manifest is in the resources folder, that its scopes "+
			"name this app, and that the secret store it refers to is there", h.Name)
	case !strings.EqualFold(c.settings.Type, h.Type):
		return nil, fmt.Errorf("the component %s is of type %s: the pipeline and the component have to name the same type", h.Name, c.settings.Type)
	case version(c.settings.Version) != version(h.Version):
		return nil, fmt.Errorf("the component %s has version %s, the pipeline names %s", h.Name, c.settings.Version, h.Version)
	}
	return c.instance, nil
}

// version is a version in the form in which two are compared: nothing, v0 and v1 mean the same.
func version(v string) string {
	switch v = strings.ToLower(v); v {
	case "", "v0":
		return "v1"
	}
	return v
}
