package metadata

import (
	"fmt"
	"sync/atomic"

	"github.com/daprd/daprd/pkg/apierr"
)

// Health is what the health endpoints answer: the targets that must be ready, and whether callers may use
// the sidecar to reach others. Its methods may be called by many goroutines at once.
type Health struct {
	appID    string
	ready    atomic.Bool
	outbound atomic.Bool
	absent   func() []string
}

// NewHealth starts with nothing ready.
func NewHealth(appID string) *Health { return &Health{appID: appID} }

// Watch sets who names the components that cannot be used now, before anything is asked.
func (h *Health) Watch(absent func() []string) { h.absent = absent }

// Absent names the components that cannot be used now. They do not make the sidecar unhealthy: no restart of it would
// bring their servers back.
func (h *Health) Absent() []string {
	if h.absent == nil {
		return nil
	}
	return h.absent()
}

// SetReady says whether the whole start-up has ended (true) or a shutdown has begun (false).
func (h *Health) SetReady(ready bool) { h.ready.Store(ready) }

// SetOutbound says whether the servers listen and the components are loaded.
func (h *Health) SetOutbound(ready bool) { h.outbound.Store(ready) }

// Check is nil when everything is ready, else an *apierr.Error. A non-empty appID must be this sidecar's.
func (h *Health) Check(appID string) error {
	switch {
	case !h.ready.Load():
		return apierr.HealthNotReady.New(fmt.Sprint([]string{"runtime"}))
	case appID != "" && appID != h.appID:
		return apierr.HealthAppID.New()
	}
	return nil
}

// CheckOutbound is nil when callers may use the sidecar to reach others, else an *apierr.Error.
func (h *Health) CheckOutbound() error {
	if h.outbound.Load() {
		return nil
	}
	return apierr.OutboundNotReady.New()
}
