package placement

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	placementv1 "github.com/daprd/daprd/pkg/proto/placement/v1"
	"github.com/daprd/daprd/pkg/proto/wire"
	"github.com/daprd/daprd/pkg/security"
)

const (
	// maxTypes and maxName bound a report.
	maxTypes = 4096
	maxName  = 1024
	// maxOrders is how many orders may be on their way to a sidecar: no more than three are, unless it does not read.
	maxOrders = 16
	// internalTypes are those of workflows: each application may host its own alone.
	internalTypes = "dapr.internal."
)

// member is a sidecar's stream. Its namespace's lock guards what is below orders.
type member struct {
	id, namespace string
	orders        chan []byte
	done          chan struct{}
	once          sync.Once
	err           error

	// record is what it last reported, types in order.
	record *placementv1.Host
	// hosts says that it has been given a table in which it hosts, and not yet acknowledged one in which it does not.
	hosts bool
	// told says that it has been given a table in force.
	told bool
}

func newMember(first *placementv1.Host) *member {
	return &member{id: first.GetId(), namespace: first.GetNamespace(), orders: make(chan []byte, maxOrders), done: make(chan struct{}), record: recordOf(first)}
}

// recordOf is a report as it stands in tables.
func recordOf(h *placementv1.Host) *placementv1.Host {
	return &placementv1.Host{Name: h.GetName(), Port: h.GetPort(), Entities: slices.Compact(slices.Sorted(slices.Values(h.GetEntities()))), Id: h.GetId(),
		ApiLevel: h.GetApiLevel(), Namespace: h.GetNamespace(), Operation: placementv1.HostOperation_REPORT}
}

// same says whether two records are one as tables go.
func same(a, b *placementv1.Host) bool {
	return a.GetName() == b.GetName() && a.GetId() == b.GetId() && slices.Equal(a.GetEntities(), b.GetEntities())
}

func (m *member) isHost() bool { return len(m.record.GetEntities()) > 0 }

// end ends the stream with err; the first end counts.
func (m *member) end(err error) {
	m.once.Do(func() {
		m.err = err
		close(m.done)
	})
}

// send gives an order to the stream. One that does not take its orders is ended.
func (m *member) send(order []byte) {
	select {
	case m.orders <- order:
	default:
		m.end(status.Error(codes.ResourceExhausted, "the sidecar does not read its orders"))
	}
}

// serve sends orders until the stream ends.
func (m *member) serve(stream grpc.BidiStreamingServer[placementv1.Host, placementv1.PlacementOrder]) error {
	for {
		select {
		case order := <-m.orders:
			// The bytes are shared by all streams, which only read them.
			if err := stream.SendMsg(wire.NewFrame(mem.BufferSlice{mem.SliceBuffer(order)})); err != nil {
				return err
			}
		case <-m.done:
			return m.err
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}

// isFrom refuses what is said in another's name.
func (m *member) isFrom(said *placementv1.Host) error {
	if said.GetId() != m.id || said.GetNamespace() != m.namespace {
		return status.Error(codes.PermissionDenied, fmt.Sprintf("the stream of app id %q in namespace %q cannot speak for %q in %q",
			m.id, m.namespace, said.GetId(), said.GetNamespace()))
	}
	return nil
}

// admit checks who opens a stream with which report.
func (s *Service) admit(ctx context.Context, first *placementv1.Host) error {
	switch op := first.GetOperation(); {
	case first.GetId() == "" || first.GetNamespace() == "":
		return status.Error(codes.InvalidArgument, "the first message must have an id and a namespace")
	case op != placementv1.HostOperation_REPORT && (op != placementv1.HostOperation_UNKNOWN || first.Version != nil):
		return status.Error(codes.InvalidArgument, "the first message must be a report")
	}
	if err := s.authenticate(ctx, first); err != nil {
		return err
	}
	return checkReport(first)
}

// authenticate compares a report with the certificate of the caller.
func (s *Service) authenticate(ctx context.Context, first *placementv1.Host) error {
	if !s.deps.MTLS {
		return nil
	}
	who, err := security.CallerOf(ctx)
	if err != nil {
		return status.Error(codes.PermissionDenied, err.Error())
	}
	if who.Namespace != first.GetNamespace() || who.AppID != first.GetId() {
		return status.Error(codes.PermissionDenied, fmt.Sprintf("the certificate of the caller is that of %s, which cannot report for app id %q in namespace %q",
			who, first.GetId(), first.GetNamespace()))
	}
	return nil
}

// checkReport checks what a sidecar says that it hosts.
func checkReport(h *placementv1.Host) error {
	invalid := func(format string, a ...any) error {
		return status.Error(codes.InvalidArgument, fmt.Sprintf(format, a...))
	}
	if len(h.GetEntities()) > maxTypes {
		return invalid("%d actor types are reported; %d are possible", len(h.GetEntities()), maxTypes)
	}
	for _, name := range append([]string{h.GetName(), h.GetId(), h.GetNamespace()}, h.GetEntities()...) {
		if len(name) > maxName {
			return invalid("a name of %d bytes is reported; %d are possible", len(name), maxName)
		}
	}
	if len(h.GetEntities()) > 0 && h.GetName() == "" {
		return invalid("a host of actors must report its address")
	}
	own := internalTypes + h.GetNamespace() + "." + h.GetId() + "."
	for _, name := range h.GetEntities() {
		if strings.HasPrefix(name, internalTypes) && !strings.HasPrefix(name, own) {
			return invalid("the actor type %q is not that of app id %q in namespace %q, whose own begin with %q", name, h.GetId(), h.GetNamespace(), own)
		}
	}
	return nil
}
