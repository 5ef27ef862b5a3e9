// Package placement is the placement service: it holds which sidecar hosts which types of actors, and brings each change
// into force everywhere at once, in rounds with a barrier (dapr.proto.placement.v1.Placement, as Dapr 1.18 speaks it). It
// must not know what an actor is, nor how a leader among several servers is found: that is package election's.
package placement

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	placementv1 "github.com/daprd/daprd/pkg/proto/placement/v1"
	"github.com/daprd/daprd/pkg/proto/wire"
)

// The defaults of the flags, those of Dapr 1.18.
const (
	DefaultReplicationFactor  = 100
	DefaultDisseminateTimeout = 8 * time.Second
	DefaultKeepaliveTime      = 2 * time.Second
	DefaultKeepaliveTimeout   = 3 * time.Second
)

const (
	// keepaliveHeader tells sidecars of this project how often they hear the server while it lives
	// (pkg/actors/placement.KeepaliveHeader).
	keepaliveHeader = "daprd-placement-keepalive"
	// patience is how much later than that they give the server up, and room what a new server waits beyond it: until then
	// a sidecar that has not heard of the end of the server before may trust that one's table.
	patience = 2 * time.Second
	room     = 500 * time.Millisecond
	// maxReport bounds what a sidecar may say at once, in bytes.
	maxReport = 1 << 20
	// leastPing is how often clients may ping at most.
	leastPing = time.Second
)

// Settings say how rounds go. A zero value is the default.
type Settings struct {
	// ReplicationFactor is how many places a host has in the ring of a type.
	ReplicationFactor int
	// DisseminateTimeout bounds each phase of a round: sidecars that are silent for so long are dropped.
	DisseminateTimeout time.Duration
	// CoalesceWindow is how long a change waits for others, so that they share a round; 0 is not at all.
	CoalesceWindow time.Duration
	// KeepaliveTime is after which silence a sidecar is asked whether it lives, KeepaliveTimeout how long it may take to
	// answer.
	KeepaliveTime, KeepaliveTimeout time.Duration
	// Quarantine is how long a server that has just come to lead waits before its first round: as long as a sidecar may
	// trust the table of the one before without hearing it. 0 is what KeepaliveTime makes it; less is none, where nobody
	// can trust another table any more.
	Quarantine time.Duration
}

func (s Settings) withDefaults() Settings {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{{&s.DisseminateTimeout, DefaultDisseminateTimeout}, {&s.KeepaliveTime, DefaultKeepaliveTime}, {&s.KeepaliveTimeout, DefaultKeepaliveTimeout}} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	if s.ReplicationFactor <= 0 {
		s.ReplicationFactor = DefaultReplicationFactor
	}
	if s.Quarantine == 0 {
		s.Quarantine = s.KeepaliveTime + patience + room
	}
	return s
}

// Deps are what code passes to a Service.
type Deps struct {
	// ID names the server in errors.
	ID string
	// MTLS says that callers have shown certificates, which have to be those of the app ids that they report.
	MTLS bool
	// Confirm makes sure, before a round, that this server is still the one that leads; nil where there is no other.
	Confirm func(ctx context.Context) error
	// Observer is told how many streams a namespace has, and how many of them host actors; nil tells nobody.
	Observer Observer
	Log      logrus.FieldLogger
}

// Observer is the seam of the metrics.
type Observer interface {
	Connected(namespace string, streams, hosts int)
}

// Service is the gRPC service. It refuses streams until Lead.
type Service struct {
	placementv1.UnimplementedPlacementServer
	settings Settings
	deps     Deps
	log      logrus.FieldLogger

	// working are the goroutines that streams and rounds leave behind for a moment.
	working sync.WaitGroup

	mu sync.Mutex
	// leading is nil while the server does not lead.
	leading *term
}

// term is one time of leading.
type term struct {
	service *Service
	ctx     context.Context
	end     context.CancelCauseFunc

	mu         sync.Mutex
	namespaces map[string]*namespace
	// open says that rounds may begin, closed that it is over.
	open, closed bool
}

// NewService makes one that does not lead.
func NewService(settings Settings, deps Deps) *Service {
	return &Service{settings: settings.withDefaults(), deps: deps, log: deps.Log}
}

// ServerOptions are those of the gRPC server that the Service is registered with.
func (s *Service) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(wire.Codec{}), grpc.MaxRecvMsgSize(maxReport),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: s.settings.KeepaliveTime, Timeout: s.settings.KeepaliveTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: leastPing, PermitWithoutStream: true}),
	}
}

// Lead takes streams until ctx ends, or until another server leads; then all streams have ended. It is called again for
// another time.
func (s *Service) Lead(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := &term{service: s, ctx: ctx, end: cancel, namespaces: map[string]*namespace{}}
	s.mu.Lock()
	s.leading = t
	s.mu.Unlock()
	if s.settings.Quarantine > 0 {
		timer := time.NewTimer(s.settings.Quarantine)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	t.begin()
	<-ctx.Done()
	s.mu.Lock()
	s.leading = nil
	s.mu.Unlock()
	t.close()
	return context.Cause(ctx)
}

// begin lets rounds begin.
func (t *term) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open = true
	for _, n := range t.namespaces {
		n.open()
	}
}

func (t *term) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, n := range t.namespaces {
		n.close(t.service.notLeading())
	}
}

// enter gives the namespace of a name, for one stream more, nil when the term is over; leave ends that.
func (t *term) enter(name string) *namespace {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	n := t.namespaces[name]
	if n == nil {
		n = newNamespace(name, t)
		t.namespaces[name] = n
		if t.open {
			n.open()
		}
	}
	n.streams++
	return n
}

func (t *term) leave(n *namespace) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.streams--; n.streams == 0 {
		delete(t.namespaces, n.name)
		n.close(nil)
	}
}

// Table is who hosts what in a namespace.
type Table struct {
	Hosts   []*placementv1.Host
	Version uint64
}

// Tables are those in force, by namespace; none while the server does not lead.
func (s *Service) Tables() map[string]Table {
	all := map[string]Table{}
	s.mu.Lock()
	t := s.leading
	s.mu.Unlock()
	if t == nil {
		return all
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, n := range t.namespaces {
		all[name] = n.inForce()
	}
	return all
}

func (s *Service) notLeading() error {
	return status.Errorf(codes.FailedPrecondition, "node id=%s is not a leader. Only the leader can serve requests", s.deps.ID)
}

// ReportDaprStatus is one sidecar's part.
func (s *Service) ReportDaprStatus(stream grpc.BidiStreamingServer[placementv1.Host, placementv1.PlacementOrder]) error {
	s.mu.Lock()
	t := s.leading
	s.mu.Unlock()
	if t == nil {
		return s.notLeading()
	}
	if err := stream.SendHeader(metadata.Pairs(keepaliveHeader, s.settings.KeepaliveTime.String())); err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if err := s.admit(stream.Context(), first); err != nil {
		return err
	}
	n := t.enter(first.GetNamespace())
	if n == nil {
		return s.notLeading()
	}
	defer t.leave(n)
	m := newMember(first)
	// The receiving half ends only after this returns.
	s.working.Go(func() { m.end(s.listen(stream, n, m)) })
	n.join(m)
	defer n.gone(m)
	return m.serve(stream)
}

// Wait returns when nothing of ended streams is left; the gRPC server has to be stopped before.
func (s *Service) Wait() { s.working.Wait() }

// listen brings what the sidecar says to its namespace.
func (s *Service) listen(stream grpc.BidiStreamingServer[placementv1.Host, placementv1.PlacementOrder], n *namespace, m *member) error {
	for {
		said, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := m.isFrom(said); err != nil {
			return err
		}
		switch said.GetOperation() {
		case placementv1.HostOperation_REPORT:
			if err := checkReport(said); err != nil {
				return err
			}
			n.report(m, said)
		case placementv1.HostOperation_UNKNOWN:
			if said.Version != nil {
				return status.Error(codes.InvalidArgument, "a version was sent without an operation")
			}
			n.acknowledge(m, 0, 0)
		case placementv1.HostOperation_LOCK, placementv1.HostOperation_UPDATE, placementv1.HostOperation_UNLOCK:
			n.acknowledge(m, said.GetOperation(), said.GetVersion())
		default:
			return status.Error(codes.InvalidArgument, fmt.Sprintf("operation %d is not known", said.GetOperation()))
		}
	}
}
