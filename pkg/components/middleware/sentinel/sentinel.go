// Package sentinel is the middleware that bounds traffic by the rules of Sentinel: flow, circuit breaking, hot spots,
// isolation, and the load of the system.
package sentinel

import (
	"context"
	"errors"
	"net/http"

	"github.com/alibaba/sentinel-golang/api"
	"github.com/alibaba/sentinel-golang/core/base"
	"github.com/alibaba/sentinel-golang/core/config"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/middleware"
)

type settings struct {
	AppName string `metadata:"appName"`
	// LogDir gets Sentinel's metric files; without it there are none. Its messages are in the sidecar's log.
	LogDir string `metadata:"logDir"`
	// The rules are JSON arrays in Sentinel's own form.
	Flow           string `metadata:"flowRules"`
	CircuitBreaker string `metadata:"circuitBreakerRules"`
	HotSpot        string `metadata:"hotSpotParamRules"`
	Isolation      string `metadata:"isolationRules"`
	System         string `metadata:"systemRules"`
}

type sentinel struct{ rules *rules }

// New makes middleware.http.sentinel. Sentinel's settings are those of the process: with several components the last
// appName and logDir count.
func New(_ context.Context, spec *components.Spec) (middleware.Middleware, error) {
	var s settings
	if err := components.Decode(spec, &s); err != nil {
		return nil, err
	}
	parsed, err := parse(&s)
	if err != nil {
		return nil, err
	}
	if err := api.InitWithConfig(process(&s, spec, len(parsed.system) > 0)); err != nil {
		return nil, err
	}
	if err := parsed.load(); err != nil {
		return nil, errors.Join(err, parsed.unload())
	}
	return &sentinel{parsed}, nil
}

// process is what Sentinel does in the background: nothing that the rules do not need.
func process(s *settings, spec *components.Spec, system bool) *config.Entity {
	entity := config.NewDefaultConfig()
	c := &entity.Sentinel
	if c.App.Name = s.AppName; s.AppName == "" {
		c.App.Name = spec.AppID
	}
	c.UseCacheTime = false
	c.Log.Logger = &logger{spec.Log}
	if c.Log.Dir = s.LogDir; s.LogDir == "" {
		c.Log.Metric.FlushIntervalSec = 0
	}
	if !system {
		c.Stat.System = config.SystemStatConfig{}
	}
	return entity
}

// Close takes the rules out of Sentinel.
func (s *sentinel) Close() error { return s.rules.unload() }

// Wrap answers 429 to what a rule blocks.
func (s *sentinel) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resource, ok := s.rules.resource(r.Method + ":" + r.URL.Path)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		entry, blocked := api.Entry(resource.name, api.WithResourceType(base.ResTypeWeb), api.WithTrafficType(base.Inbound),
			api.WithAttachments(resource.attachments(r)))
		if blocked != nil {
			http.Error(w, http.StatusText(http.StatusTooManyRequests), http.StatusTooManyRequests)
			return
		}
		watched := &watcher{ResponseWriter: w}
		defer func() {
			cause := recover()
			if cause != nil || watched.status >= http.StatusInternalServerError {
				api.TraceError(entry, errFailed)
			}
			entry.Exit()
			if cause != nil {
				panic(cause)
			}
		}()
		next.ServeHTTP(watched, r)
	})
}

// errFailed is what circuit breakers count.
var errFailed = errors.New("the call failed")

// watcher sees the status of an answer.
type watcher struct {
	http.ResponseWriter
	status int
}

// WriteHeader keeps the first status.
func (w *watcher) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets flushes through.
func (w *watcher) Unwrap() http.ResponseWriter { return w.ResponseWriter }
