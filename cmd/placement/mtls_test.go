package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"google.golang.org/grpc/credentials"

	client "github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/actors/placement/placementtest"
	"github.com/daprd/daprd/pkg/placement"
	"github.com/daprd/daprd/pkg/security"
	"github.com/daprd/daprd/pkg/sentry/sentrytest"
)

// authority is a sentry, and the flags with which servers ask it for their certificates.
type authority struct {
	*sentrytest.Sentry
	flags []string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{Sentry: sentrytest.Start(t)}
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, a.Anchors(t), 0o600); err != nil {
		t.Fatal(err)
	}
	a.flags = []string{"--tls-enabled", "--trust-anchors-file", file, "--sentry-address", a.Address().String()}
	return a
}

// identity is one that the authority has certified.
func (a *authority) identity(t *testing.T, namespace, appID string) *security.Identity {
	t.Helper()
	log, _ := logtest.NewNullLogger()
	anchors, err := security.NewAnchors(string(a.Anchors(t)), "", log)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := security.NewSentry(security.SentrySettings{Address: a.Address().String(), AppID: appID, Namespace: namespace, TrustDomain: "localhost",
		ControlPlaneNamespace: "default", ControlPlaneTrustDomain: "localhost"}, anchors)
	if err != nil {
		t.Fatal(err)
	}
	identity := security.NewIdentity(appID, log, nil)
	identity.Establish(anchors, signer)
	if err := identity.Obtain(t.Context()); err != nil {
		t.Fatal(err)
	}
	return identity
}

// service is who the servers have to be, for each other and for sidecars.
var service = security.Peer{TrustDomain: "localhost", Namespace: "default", AppID: placement.AppID}

// certified has a sidecar of placementtest show the certificate of an app id.
func (a *authority) certified(t *testing.T, appID, addresses string) func(*client.Deps) {
	t.Helper()
	creds := credentials.NewTLS(a.identity(t, "default", appID).ClientConfig(service))
	servers, err := client.NewAddresses(addresses, creds)
	if err != nil {
		t.Fatal(err)
	}
	return func(d *client.Deps) { d.AppID, d.Servers = appID, servers }
}

// TestClusterMTLS: three servers with certificates of sentry elect one that leads, and another when it is killed; sidecars
// with certificates get their table from it, and one without gets none.
func TestClusterMTLS(t *testing.T) {
	a := newAuthority(t)
	all, addresses := cluster(t, a.flags...)
	ledger := placementtest.NewLedger()
	var mesh []*placementtest.Sidecar
	for i := range 3 {
		s := placementtest.Start(t, ledger, fmt.Sprintf("10.0.0.%d:50002", i+1), addresses, a.certified(t, fmt.Sprint("app", i), addresses))
		s.Host(t, "T")
		mesh = append(mesh, s)
	}
	stranger := placementtest.Start(t, ledger, "10.0.0.9:50002", addresses)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	announced := make(chan error, 1)
	go func() { announced <- stranger.Announce(ctx, []string{"T"}) }()
	full := func() {
		t.Helper()
		await(t, "all sidecars have a table", func() bool {
			for _, s := range mesh {
				if ring, _ := s.Ring("T"); len(ring.Hosts()) != len(mesh) {
					return false
				}
			}
			return true
		})
	}
	full()
	first := leader(t, all)
	first.kill()
	second := leader(t, without(all, first))
	await(t, "the next one has all sidecars", func() bool { return len(hosts(t, second)) == len(mesh) })
	full()
	stop()
	if err := <-announced; err == nil {
		t.Error("a sidecar without a certificate has a table")
	}
}

// await waits for what has to come.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

// as is a way to a server of a cluster, for who shows a certificate or none.
type as struct {
	net.Listener
	config *tls.Config
}

func (a as) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", string(to), timeout)
	if err != nil || a.config == nil {
		return conn, err
	}
	return tls.Client(conn, a.config), nil
}

// TestImpostor: who is not placement has no say in the election of its servers, also not with a certificate of the same
// sentry.
func TestImpostor(t *testing.T) {
	a := newAuthority(t)
	all, _ := cluster(t, a.flags...)
	leads := leader(t, all)
	var target raft.ServerAddress
	for _, peer := range strings.Split(argument(leads, "--initial-cluster"), ",") {
		if id, address, _ := strings.Cut(peer, "="); id == argument(leads, "--id") {
			target = raft.ServerAddress(address)
		}
	}
	ask := func(config *tls.Config, term uint64) error {
		wire := raft.NewNetworkTransport(as{config: config, Listener: closed{}}, 1, 10*time.Second, io.Discard)
		defer wire.Close()
		return wire.RequestVote("any", target, &raft.RequestVoteRequest{
			RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("b"), Addr: []byte("127.0.0.1:1")}, Term: term,
			LastLogIndex: term, LastLogTerm: term, LeadershipTransfer: true}, new(raft.RequestVoteResponse))
	}
	for name, config := range map[string]*tls.Config{
		"in clear text":                 nil,
		"without a certificate":         {InsecureSkipVerify: true},
		"a sidecar":                     a.identity(t, "default", "app").ClientConfig(service),
		"its name in another namespace": a.identity(t, "other", placement.AppID).ClientConfig(service),
		"another authority's":           newAuthority(t).identity(t, "default", placement.AppID).ClientConfig(service),
	} {
		if config != nil {
			config.VerifyConnection = nil // it does not care who the server is
		}
		if err := ask(config, 1000); err == nil {
			t.Errorf("%s: it is answered", name)
		}
	}
	if !leads.leads() {
		t.Error("the leader was deposed")
	}
	// A term of before is answered, and changes nothing: it is the certificate that makes the difference.
	if err := ask(a.identity(t, "default", placement.AppID).ClientConfig(service), 0); err != nil {
		t.Errorf("a placement server is not answered: %v", err)
	}
}

// closed is a listener of who takes no connections.
type closed struct{}

func (closed) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (closed) Close() error              { return nil }
func (closed) Addr() net.Addr            { return &net.TCPAddr{} }

// TestImpostorListens: two servers do without a third one that is not placement, and tell it nothing.
func TestImpostorListens(t *testing.T) {
	a := newAuthority(t)
	raftAt, public, health := free(t, 2), free(t, 2), free(t, 2)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		tries, heard atomic.Int64
		work         sync.WaitGroup
		config       = a.identity(t, "default", "app").ServerConfig()
	)
	config.VerifyConnection = nil
	work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer conn.Close()
				var said bytes.Buffer
				_, err := io.Copy(&said, tls.Server(conn, config))
				heard.Add(int64(said.Len()))
				if err != nil && strings.Contains(err.Error(), "remote error: tls: ") {
					tries.Add(1) // the caller has refused the certificate
				}
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		work.Wait()
	})
	named := fmt.Sprintf("a=%s,b=%s,c=%s", raftAt[0], raftAt[1], listener.Addr())
	var all []*server
	for i, id := range []string{"a", "b"} {
		all = append(all, launch(t, id, named, public[i], health[i], a.flags...))
	}
	leader(t, all)
	await(t, "the third one is tried", func() bool { return tries.Load() > 0 })
	for _, s := range all {
		s.kill() // which ends their connections
	}
	listener.Close()
	work.Wait()
	if heard.Load() != 0 {
		t.Errorf("an impostor hears %d bytes", heard.Load())
	}
}
