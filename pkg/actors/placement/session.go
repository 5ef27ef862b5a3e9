package placement

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"

	placementv1 "github.com/daprd/daprd/pkg/proto/placement/v1"
	"github.com/daprd/daprd/pkg/proto/wire"
)

const (
	// dialTimeout bounds the making of a connection.
	dialTimeout = 5 * time.Second
	// maxTable bounds what placement may send at once, in bytes: some 100 bytes for each host of each type.
	maxTable = 64 << 20
	// apiLevel is what Dapr 1.18 reports.
	apiLevel = 20
	// KeepaliveHeader is sent by a placement of this project before all else: how often it is heard while it lives, as a
	// Go duration. A sidecar that does not hear it takes its table for lost, since a placement that stood still may have
	// been replaced. That of Dapr does not send it.
	KeepaliveHeader = "daprd-placement-keepalive"
)

// The operations of orders.
const (
	lock   = "lock"
	update = "update"
	unlock = "unlock"
)

// session is one stream to placement.
type session struct {
	client *Client
	self   string
	stream grpc.BidiStreamingClient[placementv1.Host, placementv1.PlacementOrder]
	// locked is the version of the round under way; hasLock and hasTable say how far it is.
	locked            uint64
	hasLock, hasTable bool
	// last is the newest table that was applied, changed the types whose hosts differ since the last unlock.
	last    *table
	changed []string
	// bound ends a round that takes too long.
	bound *time.Timer
}

// heard is what the stream brings.
type heard struct {
	order *placementv1.PlacementOrder
	every time.Duration
}

// attend takes part in placement over one stream, until it ends or ctx does. joined says that the server took it.
func (c *Client) attend(ctx context.Context, server Server) (joined bool, err error) {
	c.log.Debugf("try to connect to placement service: %s", server.Address)
	conn, err := c.dial(server)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c.pulse.begin()
	stream, err := placementv1.NewPlacementClient(conn).ReportDaprStatus(ctx)
	if err != nil {
		return false, err
	}
	s := &session{client: c, self: *c.self.Load(), stream: stream}
	s.bound = time.AfterFunc(c.deps.RoundTimeout, func() { cancel(fmt.Errorf("a round was not over within %s", c.deps.RoundTimeout)) })
	s.bound.Stop()
	orders := make(chan heard)
	var wait sync.WaitGroup
	defer wait.Wait()
	defer s.bound.Stop()
	watching, rest := context.WithCancel(ctx)
	defer rest()
	wait.Go(func() { cancel(s.listen(ctx, orders)) })
	wait.Go(func() {
		if err := c.pulse.watch(watching); err != nil {
			cancel(err)
		}
	})
	joined, err = s.run(ctx, server, orders)
	if joined {
		// The stream stands until nothing goes on here, where that is for this sidecar to decide.
		c.lose(ctx)
	}
	cancel(err)
	return joined, err
}

// dial makes a connection that is lost when the server's machine is, within some 2 s on Linux.
func (c *Client) dial(server Server) (*grpc.ClientConn, error) {
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 2}, Control: control}
	return grpc.NewClient("passthrough:///"+server.Address,
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, server.network(), address)
			if err != nil {
				return nil, err
			}
			return listener{conn, c.pulse}, nil
		}),
		grpc.WithTransportCredentials(server.Credentials), grpc.WithNoProxy(), grpc.WithDisableServiceConfig(), grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: dialTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.Codec{}), grpc.MaxCallRecvMsgSize(maxTable)))
}

// lose gives up the table: somebody else may have it now.
func (c *Client) lose(ctx context.Context) {
	var types []string
	c.change(func() {
		if c.table != nil {
			types = changes(nil, c.table)
		}
		c.table, c.moving, c.connected = nil, nil, false
	})
	c.deps.Hosting.Halt(context.WithoutCancel(ctx))
	c.deps.Hosting.Settled(types)
}

// listen hands on what comes until the stream ends.
func (s *session) listen(ctx context.Context, orders chan<- heard) error {
	tell := func(h heard) {
		select {
		case orders <- h:
		case <-ctx.Done():
		}
	}
	if header, err := s.stream.Header(); err == nil {
		if values := header.Get(KeepaliveHeader); len(values) == 1 {
			if every, err := time.ParseDuration(values[0]); err == nil && every > 0 {
				tell(heard{every: every})
			}
		}
	}
	for {
		order, err := s.stream.Recv()
		if err != nil {
			return err
		}
		tell(heard{order: order})
	}
}

// run reports, and follows orders.
func (s *session) run(ctx context.Context, server Server, orders <-chan heard) (joined bool, err error) {
	select {
	case <-s.client.wake: // what it would have reported is in the first report
	default:
	}
	s.report()
	for err == nil {
		select {
		case h := <-orders:
			if !joined {
				joined = true
				s.client.log.Debugf("established connection to placement service at %s", server.Address)
				s.client.change(func() { s.client.connected = true })
			}
			if h.order == nil {
				s.client.pulse.every.Store(int64(h.every))
			} else {
				err = s.follow(ctx, h.order)
			}
		case <-s.client.wake:
			s.report()
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	return joined, err
}

// report says what this sidecar hosts.
func (s *session) report() {
	s.client.mu.RLock()
	types := s.client.types
	s.client.mu.RUnlock()
	s.send(&placementv1.Host{Name: s.self, Id: s.client.deps.AppID, Namespace: s.client.deps.Namespace, Entities: types,
		ApiLevel: apiLevel, Operation: placementv1.HostOperation_REPORT})
}

func (s *session) acknowledge(what placementv1.HostOperation) {
	s.send(&placementv1.Host{Id: s.client.deps.AppID, Namespace: s.client.deps.Namespace, Operation: what, Version: proto.Uint64(s.locked)})
}

// send has no error: why a stream has ended is what listen hears.
func (s *session) send(h *placementv1.Host) { _ = s.stream.Send(h) }

// follow does what an order says. An error resets the stream.
func (s *session) follow(ctx context.Context, order *placementv1.PlacementOrder) error {
	switch version := order.GetVersion(); order.GetOperation() {
	case lock:
		if version < s.locked {
			return fmt.Errorf("placement locks version %d after %d", version, s.locked)
		}
		s.locked, s.hasLock, s.hasTable = version, true, false
		s.bound.Reset(s.client.deps.RoundTimeout)
		s.acknowledge(placementv1.HostOperation_LOCK)
		return nil
	case update:
		if !s.hasLock || version != s.locked {
			return fmt.Errorf("placement updates to version %d, and has locked %d", version, s.locked)
		}
		return s.apply(ctx, order.GetTables())
	case unlock:
		if !s.hasTable || version != s.locked {
			return nil // of a round that was given up
		}
		s.release()
		return nil
	default:
		return fmt.Errorf("placement orders %q, which nobody knows", order.GetOperation())
	}
}

// apply brings the table of a round into force: what moves waits from now on, what has to leave leaves, and then it is
// acknowledged.
func (s *session) apply(ctx context.Context, sent *placementv1.PlacementTables) error {
	c := s.client
	next, err := newTable(s.locked, sent, s.last)
	if err != nil {
		return err
	}
	changed := changes(s.last, next)
	var leaving []string
	c.change(func() {
		moving := map[string]*move{}
		for name := range c.moving { // of a round that was given up: some may have gone through with it
			moving[name] = &move{after: next.types[name], whole: true}
		}
		for _, name := range changed {
			var before *hosts
			if s.last != nil {
				before = s.last.types[name]
			}
			if moving[name] == nil {
				moving[name] = &move{before: before, after: next.types[name]}
			}
			if s.isHost(before) {
				leaving = append(leaving, name)
			}
		}
		c.moving = moving
	})
	s.changed = slices.Compact(slices.Sorted(slices.Values(append(s.changed, changed...))))
	if len(leaving) > 0 {
		c.deps.Hosting.Drain(ctx, leaving, func(actorType, actorID string) bool {
			owner, _ := next.types[actorType].owner(actorID)
			return owner == "" || !isSelf(s.self, owner)
		})
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	s.last, s.hasTable = next, true
	// Look-ups have the new table only now: what is waited for in it is what waited before.
	c.change(func() { c.table = next })
	s.acknowledge(placementv1.HostOperation_UPDATE)
	return nil
}

func (s *session) isHost(h *hosts) bool {
	return slices.ContainsFunc(h.ringOf().Hosts(), func(name string) bool { return isSelf(s.self, name) })
}

// release ends a round.
func (s *session) release() {
	c := s.client
	s.bound.Stop()
	s.hasLock, s.hasTable = false, false
	changed := s.changed
	s.changed = nil
	c.change(func() { c.moving = nil })
	c.log.Infof("placement tables updated, version: %d", s.locked)
	c.deps.Hosting.Settled(changed)
	s.acknowledge(placementv1.HostOperation_UNLOCK)
}
