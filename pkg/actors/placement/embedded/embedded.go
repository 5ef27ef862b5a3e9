// Package embedded is placement within one machine, without a placement service: the first sidecar of a user that needs
// it serves it to all others, on a socket in the folder of their registry, and another takes over when that one ends.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	client "github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/listen"
	"github.com/daprd/daprd/pkg/nameresolution/registry"
	"github.com/daprd/daprd/pkg/placement"
	placementv1 "github.com/daprd/daprd/pkg/proto/placement/v1"
)

// The files in the folder. Who has the lock serves the socket.
const (
	lockFile   = "placement.lock"
	socketFile = "placement.sock"
)

const (
	// touching is how often a server with streams notes that it has some.
	touching = time.Second
	// quarantine is how long a server waits that follows one with streams. All sidecars are on this machine, and see at
	// once that the one before has ended, unless they stand still themselves; then they trust nothing after 2.5 s.
	quarantine = 3 * time.Second
)

// Pause is the first pause of a client whose server is on the same machine.
const Pause = 20 * time.Millisecond

// Servers are the Servers of a client: the one that this machine has, this process itself if there is none.
type Servers struct {
	folder string
	log    logrus.FieldLogger
	own    *server
}

// New does nothing yet. folder is that of the registry.
func New(folder string, log logrus.FieldLogger) *Servers { return &Servers{folder: folder, log: log} }

// Next is Servers'.
func (s *Servers) Next(ctx context.Context) (client.Server, bool, error) {
	if s.own == nil {
		own, err := serve(ctx, s.folder, s.log)
		if err != nil {
			return client.Server{}, true, fmt.Errorf("placement within this machine: %w", err)
		}
		s.own = own
	}
	return client.Server{Address: filepath.Join(s.folder, socketFile), Unix: true, Credentials: insecure.NewCredentials()}, true, nil
}

// Close ends the server, if this process has it. The client must have ended.
func (s *Servers) Close() error {
	if s.own == nil {
		return nil
	}
	return s.own.close()
}

// server is placement for this machine.
type server struct {
	lock    *registry.Lock
	service *placement.Service
	grpc    *grpc.Server
	stop    context.CancelFunc
	work    sync.WaitGroup

	mu sync.Mutex
	// streams counts those of each namespace.
	streams map[string]int
}

// serve takes the lock and serves; nil without error says that another process does.
func serve(ctx context.Context, folder string, log logrus.FieldLogger) (_ *server, err error) {
	lock, err := registry.TryLock(folder, lockFile)
	if err != nil || lock == nil {
		return nil, err
	}
	s := &server{lock: lock, streams: map[string]int{}}
	settings := placement.Settings{Quarantine: -1}
	if time.Since(lock.Touched()) < quarantine {
		settings.Quarantine = quarantine
	}
	s.service = placement.NewService(settings, placement.Deps{ID: "embedded", Observer: s, Log: log})
	listener, err := listen.Unix(ctx, filepath.Join(folder, socketFile))
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	log.Debugf("this sidecar is the placement of all on this machine, at %s", listener.Addr())
	s.grpc = grpc.NewServer(s.service.ServerOptions()...)
	placementv1.RegisterPlacementServer(s.grpc, s.service)
	var serving context.Context
	serving, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.work.Go(func() { _ = s.grpc.Serve(listener) })
	s.work.Go(func() { _ = s.service.Lead(serving) })
	s.work.Go(func() { s.touch(serving) })
	return s, nil
}

func (s *server) close() error {
	s.stop()
	s.grpc.Stop()
	s.work.Wait()
	s.service.Wait()
	return s.lock.Close()
}

// Connected is placement.Observer's.
func (s *server) Connected(namespace string, streams, _ int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[namespace] = streams
	s.note()
}

// touch tells who comes after this server, as long as sidecars other than its own have streams, that it had some.
func (s *server) touch(ctx context.Context) {
	ticks := time.NewTicker(touching)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			s.mu.Lock()
			s.note()
			s.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// note touches the lock if others have streams. s.mu is held.
func (s *server) note() {
	all := 0
	for _, n := range s.streams {
		all += n
	}
	if all > 1 {
		_ = s.lock.Touch() // without it whoever follows begins sooner than he should by a moment
	}
}
