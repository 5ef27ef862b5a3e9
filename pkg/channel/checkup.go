package channel

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
)

// The defaults of health checks, and those of the flags.
const (
	DefaultHealthPath      = "/healthz"
	DefaultHealthInterval  = 5 * time.Second
	DefaultHealthTimeout   = 500 * time.Millisecond
	DefaultHealthThreshold = 3
)

// HealthSettings say how the health of an application is looked after.
type HealthSettings struct {
	// Path is asked of HTTP applications, with its query.
	Path string
	// Interval is from probe to probe, Timeout how long one may take.
	Interval, Timeout time.Duration
	// Threshold is how many probes have to fail in a row for the application to be ill. One that succeeds makes it
	// well again.
	Threshold int
	// Observe is told of every probe; nil is told nothing. status is that of Prober.
	Observe func(status int, elapsed time.Duration)
	Log     logrus.FieldLogger
}

// Health is what is known of the health of an application: ill until the first probe that succeeds. Its methods
// may be called by many goroutines at once.
type Health struct {
	settings HealthSettings

	well atomic.Bool

	mu sync.Mutex
	// changed is closed at the next change.
	changed chan struct{}
}

// NewHealth makes a Health; Run looks after it.
func NewHealth(settings HealthSettings) *Health {
	return &Health{settings: settings, changed: make(chan struct{})}
}

// Well says whether the application is well.
func (h *Health) Well() bool { return h.well.Load() }

// Await returns when the application is well, or ill; or with ctx's error when ctx ends first.
func (h *Health) Await(ctx context.Context, well bool) error {
	for {
		h.mu.Lock()
		is, changed := h.Well(), h.changed
		h.mu.Unlock()
		if is == well {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (h *Health) set(well bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.well.Store(well)
	close(h.changed)
	h.changed = make(chan struct{})
}

// Run probes the application until ctx ends. Its owner waits for it.
func (h *Health) Run(ctx context.Context, app Prober) {
	h.settings.Log.Info("App health probes starting")
	defer h.settings.Log.Info("App health probes stopping")
	ticker := time.NewTicker(h.settings.Interval)
	defer ticker.Stop()
	failures := 0
	for {
		err := h.probe(ctx, app)
		if ctx.Err() != nil {
			return
		}
		failures = h.judge(err, failures)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (h *Health) probe(ctx context.Context, app Prober) error {
	ctx, cancel := context.WithTimeout(ctx, h.settings.Timeout)
	defer cancel()
	began := time.Now()
	status, err := app.Probe(ctx, h.settings.Path)
	if h.settings.Observe != nil {
		h.settings.Observe(status, time.Since(began))
	}
	return err
}

// judge gives the number of failures in a row. Only the first is told of, the others are more of the same.
func (h *Health) judge(err error, failures int) int {
	well := h.Well()
	if err == nil {
		if !well {
			h.set(true)
			h.settings.Log.Info("App entered healthy status")
		}
		return 0
	}
	failures++
	if failures == 1 {
		h.settings.Log.Warnf("App health probe could not complete with error: %v", err)
	} else {
		h.settings.Log.Debugf("App health probe could not complete with error: %v", err)
	}
	if well && failures >= h.settings.Threshold {
		h.set(false)
		h.settings.Log.Warnf("App entered un-healthy status: %s", err)
	}
	return failures
}
