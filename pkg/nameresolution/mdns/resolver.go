// Package mdns is name resolution by multicast DNS, compatible with Dapr's: the
// service type is the bare app id, and namespaces play no part.
//
// hashicorp/mdns asks, and answers by unicast. Sockets of this package's own send
// and hear what Dapr's sidecars expect by multicast (see responder).
package mdns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/nameresolution"
)

var (
	errClosed = errors.New("mDNS resolver is closed")
	errBusy   = errors.New("too many applications are being looked up by mDNS; try again")
)

// Resolver finds sidecars on the local network, and announces one. It opens its
// sockets when it is first used.
type Resolver struct {
	log logrus.FieldLogger
	now func() time.Time

	browsing sync.WaitGroup
	slots    chan struct{}
	quit     chan struct{} // closed by Close

	mu         sync.Mutex
	opened     bool
	closed     bool
	sockets    *sockets // nil if multicast is not to be had
	socketsErr error
	responder  *responder
	memory     memory
	browses    map[string]*browse
}

// New does no I/O.
func New(log logrus.FieldLogger) *Resolver {
	return &Resolver{
		log:     log,
		now:     time.Now,
		slots:   make(chan struct{}, maxBrowses),
		quit:    make(chan struct{}),
		memory:  memory{},
		browses: map[string]*browse{},
	}
}

// Announce makes the sidecar known and answers for it until Withdraw or Close. An
// error says that the network allows no multicast; nothing else depends on it.
func (r *Resolver) Announce(ctx context.Context, a nameresolution.Announcement) error {
	if err := r.Withdraw(ctx); err != nil {
		return err
	}
	hostname, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("announce by mDNS: %w", err)
	}
	s, err := newService(a, hostname, os.Getpid())
	if err != nil {
		return fmt.Errorf("announce %s by mDNS: %w", a.AppID, err)
	}
	own, ownErr := r.open()
	responder, err := newResponder(s, own, ownErr)
	if err != nil {
		return fmt.Errorf("announce %s by mDNS: %w; sidecars on other machines will not find it unless another name resolver is configured", a.AppID, err)
	}
	r.mu.Lock()
	r.responder = responder
	r.mu.Unlock()
	r.log.Infof("local service entry announced: %s -> %s:%d", a.AppID, a.Host, a.Port)
	return nil
}

// Withdraw says goodbye for the announced sidecar; lookups go on.
func (r *Resolver) Withdraw(context.Context) error {
	r.mu.Lock()
	responder := r.responder
	r.responder = nil
	r.mu.Unlock()
	if responder == nil {
		return nil
	}
	r.log.Infof("stopping mDNS server for app id: %s", responder.service.appID)
	if err := responder.close(); err != nil {
		return fmt.Errorf("stop mDNS server: %w", err)
	}
	return nil
}

// Close withdraws, and waits for the queries under way: less than a second, since
// those of hashicorp/mdns end only at their time.
func (r *Resolver) Close() error {
	err := r.Withdraw(context.Background())
	r.mu.Lock()
	own := r.sockets
	if !r.closed {
		close(r.quit)
	}
	r.sockets, r.opened, r.closed, r.socketsErr = nil, true, true, errClosed
	r.mu.Unlock()
	r.browsing.Wait()
	if own != nil {
		err = errors.Join(err, own.close())
	}
	return err
}

// Forget drops an address that did not serve.
func (r *Resolver) Forget(target nameresolution.Target, address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.memory.forget(target.AppID, address)
}

// Resolve gives what was heard of the app in the last minute; if that is nothing,
// it asks and gives the first answer that comes within a second. Callers that ask
// for the same app at the same time share the question.
func (r *Resolver) Resolve(ctx context.Context, target nameresolution.Target) ([]string, error) {
	addresses, b, err := r.recall(target.AppID)
	if len(addresses) > 0 {
		return addresses, nil
	}
	if err != nil {
		return nil, err
	}
	select {
	case <-b.found:
	case <-b.ended:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if addresses, _ := r.memory.addresses(target.AppID, r.now()); len(addresses) > 0 {
		return addresses, nil
	}
	if b.err != nil {
		return nil, fmt.Errorf("look up %s by mDNS: %w", target.AppID, b.err)
	}
	return nil, &nameresolution.NotFoundError{AppID: target.AppID}
}

// recall gives the addresses in memory, or the browse to wait for.
func (r *Resolver) recall(appID string) ([]string, *browse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, nil, errClosed
	}
	addresses, stale := r.memory.addresses(appID, r.now())
	if len(addresses) > 0 && !stale {
		return addresses, nil, nil
	}
	b, ok := r.browses[appID]
	// What a browse found may have been forgotten before it ended.
	if ok && (!b.hit || len(addresses) > 0) {
		return addresses, b, nil
	}
	if len(r.browses) >= maxApps {
		return addresses, nil, errBusy
	}
	return addresses, r.startBrowse(appID), nil
}

// take remembers what was heard and wakes up those who wait for it.
func (r *Resolver) take(s sighting) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.memory.hear(s, r.now()) {
		return
	}
	if b, ok := r.browses[s.appID]; ok && !b.hit {
		b.hit = true
		close(b.found)
	}
}

// open gives the own sockets, opened by the first who needs them. A failure is
// tried again the next time: the network may have come up.
func (r *Resolver) open() (*sockets, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.opened {
		r.sockets, r.socketsErr = openSockets(r.receive)
		r.opened = r.sockets != nil
	}
	return r.sockets, r.socketsErr
}

func (r *Resolver) receive(m *dns.Msg, zone string) {
	r.mu.Lock()
	responder := r.responder
	r.mu.Unlock()
	if responder != nil {
		responder.hear(m)
	}
	for _, s := range sightings(m, zone) {
		r.take(s)
	}
}
