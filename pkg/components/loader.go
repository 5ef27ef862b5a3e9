package components

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/configuration"
	"github.com/daprd/daprd/pkg/crypto"
	"github.com/daprd/daprd/pkg/lock"
	"github.com/daprd/daprd/pkg/middleware"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/secrets"
	"github.com/daprd/daprd/pkg/state"
)

// Counter is told how loading went: the seam of the metrics.
type Counter interface {
	// ComponentLoaded counts a component in use. kind is its type.
	ComponentLoaded(kind string)
	// ComponentFailed counts one that its registry does not know (reason "creation") or that could not be
	// set up ("init").
	ComponentFailed(kind, reason, name string)
}

// Deps are what a Loader works with. No field is nil.
type Deps struct {
	Set           Set
	State         *state.Service
	Secrets       *secrets.Service
	PubSub        *pubsub.Service
	Bindings      *bindings.Service
	Configuration *configuration.Service
	Lock          *lock.Service
	Crypto        *crypto.Service
	Middleware    *middleware.Service
	Templates     config.Templates
	MaxBodySize   int64
	Counter       Counter
	// Log is the logger of the lines of loading, ComponentLog that of components (scope dapr.contrib).
	Log, ComponentLog *logrus.Entry
}

// Loader makes components of manifests, one after the other, in a goroutine of its own. A component whose
// secret store is not there yet waits for it without holding the others up.
type Loader struct {
	deps   Deps
	denied atomic.Pointer[func(kind, version string) bool]
	// strictSandbox is for components that run code of others.
	strictSandbox bool
	requests      chan request
	// ended is closed when nobody takes requests any more.
	ended chan struct{}
	// abandoned are initialisations that went on after their time.
	abandoned sync.WaitGroup

	// background are the tries at components that are away and the watching of those in service.
	background sync.WaitGroup

	// parked are the components that wait, by the name of the secret store, and entries what is known of each name in
	// use. Only the goroutine touches them.
	parked  map[string][]config.Component
	entries map[string]*entry

	mu      sync.Mutex
	loaded  []Loaded
	outages map[string]Outage
}

// request is work for the loader's goroutine.
type request struct {
	do    func(context.Context) error
	reply chan<- error
}

// errEnded answers requests that come too late.
var errEnded = errors.New("components are not loaded any more: the sidecar is shutting down")

// patience is how long the end waits for initialisations that do not heed their time.
const patience = time.Second

// NewLoader makes a loader; Run does its work.
func NewLoader(deps Deps) *Loader {
	return &Loader{deps: deps, requests: make(chan request), ended: make(chan struct{}),
		parked: map[string][]config.Component{}, entries: map[string]*entry{}, outages: map[string]Outage{}}
}

// Deny sets which types are passed over from now on; components in service stay.
func (l *Loader) Deny(denied func(kind, version string) bool) { l.denied.Store(&denied) }

func (l *Loader) isDenied(kind, version string) bool {
	denied := l.denied.Load()
	return denied != nil && (*denied)(kind, version)
}

// Sandbox sets how code of others is held, before the first Load.
func (l *Loader) Sandbox(strict bool) { l.strictSandbox = strict }

// Run takes requests until ctx ends, which interrupts the component in hand. It is called once; its owner
// waits for it.
func (l *Loader) Run(ctx context.Context) {
	defer l.leave()
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-l.requests:
			r.reply <- r.do(ctx)
		}
	}
}

// leave waits for what was abandoned: its context ended long ago, so that it should be over.
func (l *Loader) leave() {
	close(l.ended)
	l.background.Wait()
	over := make(chan struct{})
	go func() {
		l.abandoned.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-time.After(patience):
		l.deps.Log.Warn("the initialisation of a component goes on although its time is over; it is left behind")
	}
}

// Load has one component made, then those that waited for it, and waits for the outcome. No error are: a
// component that waits for its secret store, one that is passed over with a warning, and one that failed but
// has ignoreErrors. The end of ctx ends the wait only.
func (l *Loader) Load(ctx context.Context, component config.Component) error {
	return l.ask(ctx, func(ctx context.Context) error { return l.process(ctx, component) })
}

// ask has the loader's goroutine do something. The end of ctx ends the wait only.
func (l *Loader) ask(ctx context.Context, do func(context.Context) error) error {
	reply := make(chan error, 1)
	select {
	case l.requests <- request{do, reply}:
	case <-l.ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Loaded is a component in use.
type Loaded struct {
	config.Component
	// Capabilities are in the words of the metadata API.
	Capabilities []string
}

// Loaded are the components in use, in the order in which they were loaded.
func (l *Loader) Loaded() []Loaded {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Loaded(nil), l.loaded...)
}
