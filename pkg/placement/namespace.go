package placement

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	placementv1 "github.com/daprd/daprd/pkg/proto/placement/v1"
)

// The operations of orders.
const (
	orderLock   = "lock"
	orderUpdate = "update"
	orderUnlock = "unlock"
)

// namespace is the sidecars of one, and their rounds. Changes that come while a round goes on wait for the next, all
// together. A round that would change nothing does not take place.
type namespace struct {
	name string
	term *term
	// streams is how many there are, also of those that are about to join; the term's lock guards it.
	streams int

	mu      sync.Mutex
	opened  bool
	closed  bool
	members map[*member]struct{}
	// version and table are those of the newest round that came to its update; hosts are in the order of their names.
	version uint64
	table   []*placementv1.Host
	round   *round
	// due has the next round begin when the window is over, or, where again is set, after a round that was given up.
	due   *time.Timer
	again bool
}

// round is the way from one table to the next: each phase begins when all hosts of both have acknowledged the one before.
// Sidecars without types are told, and not waited for: they only look up, and who they ask in vain says so.
type round struct {
	phase placementv1.HostOperation
	// members are who takes part, as they had reported when it began.
	members map[*member]*placementv1.Host
	waiting map[*member]struct{}
	timer   *time.Timer
}

func newNamespace(name string, t *term) *namespace {
	return &namespace{name: name, term: t, members: map[*member]struct{}{}}
}

func (n *namespace) settings() Settings { return n.term.service.settings }

// open lets rounds begin.
func (n *namespace) open() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opened = true
	n.change()
}

// close ends all streams with err.
func (n *namespace) close(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	n.endRound()
	if n.due != nil {
		n.due.Stop()
	}
	for m := range n.members {
		m.end(err)
	}
	clear(n.members)
	n.observe()
}

// join takes a stream in. An earlier one of the same sidecar ends: it has come back before its loss was seen.
func (n *namespace) join(m *member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		m.end(n.term.service.notLeading())
		return
	}
	for other := range n.members {
		switch {
		case other.record.GetName() == "" || other.record.GetName() != m.record.GetName():
		case other.id == m.id:
			n.drop(other, status.Error(codes.Aborted, "the sidecar has opened another stream"))
		default:
			m.end(status.Error(codes.AlreadyExists, fmt.Sprintf("the address %s is that of app id %q, until its stream ends", other.record.GetName(), other.id)))
			return
		}
	}
	n.members[m] = struct{}{}
	n.observe()
	n.change()
}

// gone takes a stream out that has ended.
func (n *namespace) gone(m *member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, in := n.members[m]; in && !n.closed {
		n.drop(m, nil)
		n.change()
	}
}

// drop ends a stream, and lets a round go on without it.
func (n *namespace) drop(m *member, err error) {
	m.end(err)
	delete(n.members, m)
	n.observe()
	if n.round == nil {
		return
	}
	delete(n.round.members, m)
	if _, awaited := n.round.waiting[m]; awaited {
		delete(n.round.waiting, m)
		n.proceed()
	}
}

// report takes over what a sidecar hosts.
func (n *namespace) report(m *member, said *placementv1.Host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := recordOf(said)
	if _, in := n.members[m]; !in || same(m.record, next) {
		return
	}
	m.record = next
	n.observe()
	n.change()
}

// acknowledge takes the answer to an order; operation 0 is that to the last one.
func (n *namespace) acknowledge(m *member, operation placementv1.HostOperation, version uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.round
	if r == nil || operation != 0 && (operation != r.phase || version != n.version) {
		return // to an order of earlier
	}
	if _, awaited := r.waiting[m]; awaited {
		delete(r.waiting, m)
		n.proceed()
	}
}

// change sees to what has changed, unless a round is under way.
func (n *namespace) change() {
	if !n.opened || n.closed || n.round != nil {
		return
	}
	window := n.settings().CoalesceWindow
	switch {
	case !n.differs() || n.due != nil:
		n.greet()
	case window > 0:
		n.due = time.AfterFunc(window, n.dueNow)
		n.greet()
	default:
		n.begin()
	}
}

// dueNow begins the round that was due, if it is still needed.
func (n *namespace) dueNow() {
	n.mu.Lock()
	defer n.mu.Unlock()
	again := n.again
	n.due, n.again = nil, false
	switch {
	case n.closed || n.round != nil:
	case again || n.differs():
		n.begin()
	default:
		n.greet()
	}
}

// wanted is the table that the members make, in the order of names.
func wanted(records map[*member]*placementv1.Host) (hosts []*placementv1.Host) {
	for _, record := range records {
		if len(record.GetEntities()) > 0 {
			hosts = append(hosts, record)
		}
	}
	slices.SortFunc(hosts, func(a, b *placementv1.Host) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return hosts
}

func (n *namespace) records() map[*member]*placementv1.Host {
	all := make(map[*member]*placementv1.Host, len(n.members))
	for m := range n.members {
		all[m] = m.record
	}
	return all
}

// differs says whether a round is needed.
func (n *namespace) differs() bool { return !slices.EqualFunc(n.table, wanted(n.records()), same) }

// greet gives the table in force to those who have it not. Nobody else has to do with that.
func (n *namespace) greet() {
	var orders [][]byte
	for m := range n.members {
		if m.told || m.isHost() && n.due != nil {
			continue
		}
		if orders == nil {
			n.version = max(n.version, 1)
			orders = [][]byte{n.order(orderLock), n.update(), n.order(orderUnlock)}
		}
		for _, order := range orders {
			m.send(order)
		}
		m.told, m.hosts = true, m.isHost()
	}
}

// begin begins a round.
func (n *namespace) begin() {
	n.version++
	r := &round{members: n.records()}
	n.round = r
	confirm := n.term.service.deps.Confirm
	if confirm == nil {
		n.enter(placementv1.HostOperation_LOCK)
		return
	}
	n.term.service.working.Go(func() { n.confirmed(r, confirm) })
}

// confirmed goes on with a round if this server still leads.
func (n *namespace) confirmed(r *round, confirm func(context.Context) error) {
	ctx, cancel := context.WithTimeout(n.term.ctx, n.settings().DisseminateTimeout)
	defer cancel()
	if err := confirm(ctx); err != nil {
		n.term.end(fmt.Errorf("this server does not lead any more: %w", err))
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.round == r {
		n.enter(placementv1.HostOperation_LOCK)
	}
}

// enter begins a phase.
func (n *namespace) enter(phase placementv1.HostOperation) {
	r := n.round
	if r.timer != nil {
		r.timer.Stop()
	}
	r.phase, r.waiting = phase, map[*member]struct{}{}
	var order []byte
	switch phase {
	case placementv1.HostOperation_LOCK:
		order = n.order(orderLock)
	case placementv1.HostOperation_UPDATE:
		n.table = wanted(r.members)
		order = n.update()
	case placementv1.HostOperation_UNLOCK:
		order = n.order(orderUnlock)
	}
	for m, record := range r.members {
		if hosts := len(record.GetEntities()) > 0; hosts || m.hosts {
			r.waiting[m] = struct{}{}
			m.hosts = hosts || phase != placementv1.HostOperation_UNLOCK
		}
		m.send(order)
	}
	r.timer = time.AfterFunc(n.settings().DisseminateTimeout, func() { n.timeout(r, phase) })
	n.proceed()
}

// proceed enters the next phase when nobody is waited for any more.
func (n *namespace) proceed() {
	r := n.round
	if len(r.waiting) > 0 {
		return
	}
	switch r.phase {
	case placementv1.HostOperation_LOCK:
		n.enter(placementv1.HostOperation_UPDATE)
	case placementv1.HostOperation_UPDATE:
		n.enter(placementv1.HostOperation_UNLOCK)
	case placementv1.HostOperation_UNLOCK:
		for m := range r.members {
			m.told = true
		}
		n.endRound()
		n.term.service.log.Debugf("namespace %s: version %d is in force, %d sidecars host actors", n.name, n.version, len(n.table))
		n.change()
	}
}

func (n *namespace) endRound() {
	if n.round != nil && n.round.timer != nil {
		n.round.timer.Stop()
	}
	n.round = nil
}

// timeout drops who has not acknowledged a phase in time, and begins anew with the others, once those who were dropped
// can know it.
func (n *namespace) timeout(r *round, phase placementv1.HostOperation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.round != r || r.phase != phase {
		return
	}
	silent := slices.Collect(maps.Keys(r.waiting))
	n.endRound()
	if n.due != nil {
		n.due.Stop()
	}
	for _, m := range silent {
		n.term.service.log.Warnf("the sidecar %s of app id %q in namespace %s has not answered %s of version %d within %s and is dropped",
			m.record.GetName(), m.id, n.name, phase, n.version, n.settings().DisseminateTimeout)
		n.drop(m, status.Error(codes.DeadlineExceeded, fmt.Sprintf("%s of version %d was not acknowledged within %s", phase, n.version, n.settings().DisseminateTimeout)))
	}
	n.again = true
	n.due = time.AfterFunc(room, n.dueNow)
}

func (n *namespace) order(operation string) []byte {
	return encode(&placementv1.PlacementOrder{Operation: operation, Version: n.version})
}

// update is the order with the table.
func (n *namespace) update() []byte {
	entries := map[string]*placementv1.PlacementTable{}
	for _, host := range n.table {
		for _, name := range host.GetEntities() {
			if entries[name] == nil {
				entries[name] = &placementv1.PlacementTable{LoadMap: map[string]*placementv1.Host{}}
			}
			entries[name].LoadMap[host.GetName()] = host
		}
	}
	return encode(&placementv1.PlacementOrder{Operation: orderUpdate, Version: n.version, Tables: &placementv1.PlacementTables{
		Entries: entries, Version: strconv.FormatUint(n.version, 10), ReplicationFactor: int64(n.settings().ReplicationFactor)}})
}

func encode(order *placementv1.PlacementOrder) []byte {
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(order)
	if err != nil {
		panic(err) // strings that came in a message of protobuf go into one
	}
	return text
}

// inForce is the table for those who look.
func (n *namespace) inForce() Table {
	n.mu.Lock()
	defer n.mu.Unlock()
	return Table{Hosts: n.table, Version: n.version}
}

// observe tells the metrics.
func (n *namespace) observe() {
	if o := n.term.service.deps.Observer; o != nil {
		hosts := 0
		for m := range n.members {
			if m.isHost() {
				hosts++
			}
		}
		o.Connected(n.name, len(n.members), hosts)
	}
}
