package placement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	// longestWait bounds a look-up without a table.
	longestWait = 30 * time.Second
	// firstPause and longestPause pace the tries to reach placement; each is up to half as long again, so that the
	// sidecars of a mesh do not come at once. Dapr pauses 0.5 s each time.
	firstPause   = 500 * time.Millisecond
	longestPause = 4 * time.Second
	// DefaultRoundTimeout is that of --actors-disseminate-timeout.
	DefaultRoundTimeout = 30 * time.Second
)

// Deps are what code passes to a Client.
type Deps struct {
	AppID, Namespace string
	// Address is this sidecar's, as other sidecars dial it: host and port. It is asked when Run begins.
	Address func() string
	// Servers gives the placement servers to try.
	Servers Servers
	Hosting Hosting
	// RoundTimeout bounds a round; 0 is the default.
	RoundTimeout time.Duration
	// Pause is the first pause between tries to reach placement; 0 is 0.5 s.
	Pause time.Duration
	// Lazy has the client connect only when types are announced or an actor is looked for.
	Lazy bool
	Log  logrus.FieldLogger
}

// Client is the sidecar's part in placement. Its methods may be called by many goroutines at once, before Run and after
// its end too.
type Client struct {
	deps  Deps
	log   logrus.FieldLogger
	pulse *pulse

	// wanted is closed when there is somebody to connect for; wake has room for one: types have changed.
	wanted chan struct{}
	want   sync.Once
	wake   chan struct{}
	self   atomic.Pointer[string]

	mu sync.RWMutex
	// table is nil while there is none. moving are the types of a round between update and unlock.
	table  *table
	moving map[string]*move
	// types are those that are announced, in order.
	types     []string
	connected bool
	ended     bool
	// changed is closed and replaced with each change of what is above.
	changed chan struct{}
}

// move is what happens to a type between update and unlock: actors whose host is another afterwards wait.
type move struct {
	before, after *hosts
	// whole has all actors wait: not everybody may have seen what was before.
	whole bool
}

func (m *move) waits(actorID string) bool {
	if m == nil {
		return false
	}
	was, _ := m.before.owner(actorID)
	is, _ := m.after.owner(actorID)
	return m.whole || was != is
}

// NewClient makes one without a connection.
func NewClient(deps Deps) *Client {
	if deps.RoundTimeout <= 0 {
		deps.RoundTimeout = DefaultRoundTimeout
	}
	if deps.Pause <= 0 {
		deps.Pause = firstPause
	}
	c := &Client{deps: deps, log: deps.Log, pulse: newPulse(uptime), wanted: make(chan struct{}), wake: make(chan struct{}, 1),
		changed: make(chan struct{})}
	if !deps.Lazy {
		c.connectNow()
	}
	return c
}

func (c *Client) connectNow() { c.want.Do(func() { close(c.wanted) }) }

// change does what changes what look-ups see, and wakes who waits for it.
func (c *Client) change(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
	close(c.changed)
	c.changed = make(chan struct{})
}

// Owner finds the host of an actor. It waits while there is no table that can be trusted, and while the actor moves,
// until ctx ends, for at most 30 s (ErrNoTable). If the host is this sidecar, enter is called before a newer table can
// take the actor away: what it registers is seen by the next Drain. It has to be quick and must not call the Client. A
// type that nobody hosts is ErrNoHost, at once.
func (c *Client) Owner(ctx context.Context, actorType, actorID string, enter func()) (Owner, error) {
	owner, wait, err := c.look(actorType, actorID, enter)
	if wait == nil {
		return owner, err
	}
	c.connectNow()
	bound := time.NewTimer(longestWait)
	defer bound.Stop()
	for {
		select {
		case <-wait:
		case <-ctx.Done():
			return Owner{}, fmt.Errorf("look for the host of the actor: %w", context.Cause(ctx))
		case <-bound.C:
			return Owner{}, fmt.Errorf("%w: none came within %s; is the placement service up, and can this sidecar reach it?", ErrNoTable, longestWait)
		}
		if owner, wait, err = c.look(actorType, actorID, enter); wait == nil {
			return owner, err
		}
	}
}

// look is one look at the table; wait is closed when another may be worth it, nil when it is not.
func (c *Client) look(actorType, actorID string, enter func()) (owner Owner, wait <-chan struct{}, err error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.ended {
		return Owner{}, nil, fmt.Errorf("%w: this sidecar is shutting down", ErrNoTable)
	}
	if c.table == nil || c.pulse.check() != nil || c.moving[actorType].waits(actorID) {
		return Owner{}, c.changed, nil
	}
	name, appID := c.table.types[actorType].owner(actorID)
	if name == "" {
		return Owner{}, nil, ErrNoHost
	}
	owner = Owner{Address: name, AppID: appID, Local: isSelf(*c.self.Load(), name)}
	if owner.Local {
		enter()
	}
	return owner, nil, nil
}

// Fresh says why the table must not be trusted, nil while it can be. When it is not nil all local actors are about to be
// halted; a turn or a write that has not begun must not begin.
func (c *Client) Fresh() error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.table == nil {
		return ErrNoTable
	}
	return c.pulse.check()
}

// Announce tells placement which types this sidecar hosts from now on. It returns when they are in a table that is in
// force, or when ctx ends. Taking all types back is done at once where there is no stream.
func (c *Client) Announce(ctx context.Context, types []string) error {
	types = slices.Compact(slices.Sorted(slices.Values(types)))
	c.change(func() { c.types = types })
	if len(types) > 0 {
		c.connectNow()
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
	for {
		c.mu.RLock()
		settled := !slices.Equal(c.types, types) || len(types) == 0 && c.table == nil ||
			c.table != nil && len(c.moving) == 0 && c.table.says(*c.self.Load(), types)
		changed, ended := c.changed, c.ended
		c.mu.RUnlock()
		switch {
		case settled:
			return nil
		case ended:
			return errors.New("this sidecar is shutting down")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Status is what the metadata API shows.
func (c *Client) Status() Status {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return Status{Connected: c.connected, Ready: c.table != nil}
}

// Ring is that of a type in the table in force, and the name of this sidecar in it. It is nil for a type without hosts,
// and while there is no table.
func (c *Client) Ring(actorType string) (ring *Ring, self string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.table == nil {
		return nil, ""
	}
	self = *c.self.Load()
	h := c.table.types[actorType]
	for _, name := range h.ringOf().Hosts() {
		if isSelf(self, name) {
			return h.ring, name
		}
	}
	return h.ringOf(), self
}

// Run keeps a stream to placement until ctx ends.
func (c *Client) Run(ctx context.Context) {
	self := c.deps.Address()
	c.self.Store(&self)
	defer c.change(func() { c.ended = true })
	select {
	case <-c.wanted:
	case <-ctx.Done():
		return
	}
	told := false
	for pause := c.deps.Pause; ctx.Err() == nil; {
		server, last, err := c.deps.Servers.Next(ctx)
		joined := false
		if err == nil {
			joined, err = c.attend(ctx, server)
		}
		switch {
		case ctx.Err() != nil:
			return
		case joined:
			told, pause, last = false, c.deps.Pause, true
			c.log.Errorf("Placement stream closed: %s. Reconnecting...", err)
		case !told && last:
			told = true
			c.log.Errorf("Failed to connect to placement service: %s. Retrying...", err)
		default:
			c.log.Debugf("error connecting to placement service: %s", err)
		}
		if last {
			pause = c.rest(ctx, pause)
		}
	}
}
