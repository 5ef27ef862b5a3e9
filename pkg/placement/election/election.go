// Package election finds the one among several placement servers that leads, by Raft. Nothing but the leader is agreed
// on: what a placement server knows it has from the streams of the sidecars. Only cmd/placement imports it.
package election

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	boltdb "github.com/hashicorp/raft-boltdb/v2"
	"github.com/sirupsen/logrus"
)

// The times of the election are those of Dapr's placement.
const (
	heartbeat = time.Second
	lease     = 500 * time.Millisecond
	commit    = 50 * time.Millisecond
	// dialTimeout bounds what is sent to another server, maxConns the idle connections to each.
	dialTimeout = 10 * time.Second
	maxConns    = 2
)

// Peer is a server that may lead.
type Peer struct {
	ID string
	// Address is where the servers speak to each other, host and port.
	Address string
}

// ParsePeers reads --initial-cluster: id=host:port, with commas between them.
func ParsePeers(text string) (peers []Peer, err error) {
	seen := map[string]bool{}
	for _, part := range strings.Split(text, ",") {
		id, address, found := strings.Cut(strings.TrimSpace(part), "=")
		host, port, bad := net.SplitHostPort(address)
		switch {
		case !found || id == "" || bad != nil || host == "" || port == "":
			return nil, fmt.Errorf("%q is no server (want id=host:port,id=host:port)", part)
		case seen[id]:
			return nil, fmt.Errorf("%s is named twice", id)
		}
		seen[id] = true
		peers = append(peers, Peer{id, address})
	}
	return peers, nil
}

// Config says who takes part.
type Config struct {
	// ID is this server's; it is one of the Peers.
	ID    string
	Peers []Peer
	// Folder keeps votes over restarts, "" keeps them in memory.
	Folder string
	// Secure puts TLS around the connections between the servers, nil leaves them in clear text.
	Secure Secure
	Log    logrus.FieldLogger
}

// Secure is TLS between the servers.
type Secure interface {
	Server(net.Conn) net.Conn
	Client(net.Conn) net.Conn
}

// Election is this server's part in it.
type Election struct {
	raft  *raft.Raft
	close []io.Closer
	log   logrus.FieldLogger
}

// Start takes part.
func Start(ctx context.Context, cfg Config) (e *Election, err error) {
	e = &Election{log: cfg.Log}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("election of the leader: %w", err), e.closeAll())
		}
	}()
	own, err := cfg.own()
	if err != nil {
		return e, err
	}
	layer, err := newLayer(ctx, own.Address, cfg.Secure)
	if err != nil {
		return e, err
	}
	logger := hclog.New(&hclog.LoggerOptions{Output: &lines{cfg.Log}, DisableTime: true, Level: hclog.Info})
	transport := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: layer, MaxPool: maxConns, Timeout: dialTimeout, Logger: logger})
	e.close = append(e.close, transport)
	logs, votes, err := e.stores(cfg.Folder)
	if err != nil {
		return e, err
	}
	settings := raft.DefaultConfig()
	settings.LocalID = raft.ServerID(cfg.ID)
	settings.HeartbeatTimeout, settings.ElectionTimeout, settings.LeaderLeaseTimeout, settings.CommitTimeout = heartbeat, heartbeat, lease, commit
	// The log is kept whole: an election is an entry of a few bytes, and what is cut off would have to be in a snapshot,
	// both for this server's own next start and for servers that come back without it.
	settings.TrailingLogs, settings.SnapshotThreshold = math.MaxUint64, math.MaxUint64
	settings.Logger = logger
	snapshots := raft.NewDiscardSnapshotStore()
	known, err := raft.HasExistingState(logs, votes, snapshots)
	if err == nil && !known {
		err = raft.BootstrapCluster(settings, logs, votes, snapshots, transport, cfg.servers())
	}
	if err == nil {
		e.raft, err = raft.NewRaft(settings, nothing{}, logs, votes, snapshots, transport)
	}
	return e, err
}

func (c *Config) own() (Peer, error) {
	for _, p := range c.Peers {
		if p.ID == c.ID {
			return p, nil
		}
	}
	return Peer{}, fmt.Errorf("--id %s is none of the servers of --initial-cluster", c.ID)
}

func (c *Config) servers() (all raft.Configuration) {
	for _, p := range c.Peers {
		all.Servers = append(all.Servers, raft.Server{ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Address)})
	}
	return all
}

func (e *Election) stores(folder string) (raft.LogStore, raft.StableStore, error) {
	if folder == "" {
		store := raft.NewInmemStore()
		return store, store, nil
	}
	store, err := boltdb.NewBoltStore(filepath.Join(folder, "raft.db"))
	if err != nil {
		return nil, nil, fmt.Errorf("--raft-logstore-path %s: %w", folder, err)
	}
	e.close = append(e.close, store)
	return store, store, nil
}

// Run calls lead each time that this server is elected, with a context that ends when another may be, until ctx ends.
func (e *Election) Run(ctx context.Context, lead func(ctx context.Context)) {
	for {
		select {
		case leads := <-e.raft.LeaderCh():
			if leads {
				e.term(ctx, lead)
			}
		case <-ctx.Done():
			return
		}
	}
}

// term is one time of leading.
func (e *Election) term(ctx context.Context, lead func(ctx context.Context)) {
	e.log.Info("this server leads")
	leading, lost := context.WithCancel(ctx)
	defer lost()
	over := make(chan struct{})
	go func() {
		defer close(over)
		lead(leading)
	}()
	select {
	case <-e.raft.LeaderCh(): // false, or true again where it was lost and won faster than that was told
		e.log.Warn("this server does not lead any more")
		lost()
	case <-over:
		// It found out by itself that another may lead.
		_ = e.raft.LeadershipTransfer().Error()
		return
	case <-ctx.Done():
	}
	<-over
}

// Leads says whether this server leads, as far as it knows.
func (e *Election) Leads() bool { return e.raft.State() == raft.Leader }

// Confirm asks the other servers whether this one leads.
func (e *Election) Confirm(ctx context.Context) error {
	asked := e.raft.VerifyLeader()
	answer := make(chan error, 1)
	go func() { answer <- asked.Error() }() // it ends with the lease of the leader
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close leaves the election, and hands the lead over first.
func (e *Election) Close() error {
	if e.Leads() {
		_ = e.raft.LeadershipTransfer().Error() // without it the others wait for a second
	}
	return errors.Join(e.raft.Shutdown().Error(), e.closeAll())
}

func (e *Election) closeAll() error {
	var errs []error
	for _, c := range e.close {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// nothing is what the servers agree on beside their leader.
type nothing struct{}

func (nothing) Apply(*raft.Log) any                  { return nil }
func (nothing) Snapshot() (raft.FSMSnapshot, error)  { return nothing{}, nil }
func (nothing) Restore(r io.ReadCloser) error        { return r.Close() }
func (nothing) Persist(sink raft.SnapshotSink) error { return sink.Close() }
func (nothing) Release()                             {}

// lines writes Raft's own log.
type lines struct{ log logrus.FieldLogger }

func (l *lines) Write(p []byte) (int, error) {
	l.log.Debug(strings.TrimSpace(string(p)))
	return len(p), nil
}
