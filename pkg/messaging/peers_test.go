package messaging

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/connectivity"

	"github.com/daprd/daprd/pkg/nameresolution"
)

var target = nameresolution.Target{AppID: "callee", Namespace: "default"}

func used(t *testing.T, p *Peers, address string) *peer {
	t.Helper()
	found, err := p.use(target, address)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func closedConn(p *peer) bool { return (*p.conns.Load())[0].GetState() == connectivity.Shutdown }

func TestPeersAreBounded(t *testing.T) {
	p := NewPeers(Insecure{}, 0)
	defer p.Close()
	clock := time.Now()
	p.now = func() time.Time { return clock }
	busy := used(t, p, "busy:1")
	first := used(t, p, "first:1")
	first.release()
	for i := range MaxPeers {
		clock = clock.Add(time.Millisecond)
		used(t, p, fmt.Sprintf("other:%d", i)).release()
	}
	if len(p.peers) > MaxPeers {
		t.Errorf("%d peers", len(p.peers))
	}
	if !closedConn(first) {
		t.Error("the longest unused is still open")
	}
	if closedConn(busy) {
		t.Error("one in use was closed")
	}
	clock = clock.Add(PeerIdle + time.Second)
	used(t, p, "new:1").release()
	if len(p.peers) != 2 {
		t.Errorf("%d peers after all but one were idle", len(p.peers))
	}
	busy.release()
}

func TestTooManyPeersInUse(t *testing.T) {
	p := NewPeers(Insecure{}, 0)
	defer p.Close()
	for i := range MaxPeers {
		used(t, p, fmt.Sprintf("busy:%d", i))
	}
	if _, err := p.use(target, "one:more"); err != errTooManyPeers {
		t.Errorf("error %v", err)
	}
}

func TestRetiredPeerEndsWithItsCalls(t *testing.T) {
	p := NewPeers(Insecure{}, 0)
	defer p.Close()
	old := used(t, p, "a:1")
	used(t, p, "a:1")
	old.retire()
	old.release()
	if closedConn(old) {
		t.Error("closed under a call")
	}
	if fresh := used(t, p, "a:1"); fresh == old {
		t.Error("the next call got the retired one")
	}
	old.release()
	if !closedConn(old) || len(p.retired) != 0 {
		t.Error("still open")
	}
}

func TestBusyPeerGetsMoreConnections(t *testing.T) {
	p := NewPeers(Insecure{}, 0)
	defer p.Close()
	for range callsPerConn * (connsPerPeer + 2) {
		used(t, p, "a:1").conn()
	}
	if n := len(*p.peers[peerKey{"a:1", "callee", "default"}].conns.Load()); n != connsPerPeer {
		t.Errorf("%d connections", n)
	}
}

func TestClosedPeers(t *testing.T) {
	p := NewPeers(Insecure{}, 0)
	in := used(t, p, "a:1")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if !closedConn(in) {
		t.Error("still open")
	}
	in.retire()
	in.release()
	if _, err := p.use(target, "a:1"); err != errPeersClosed {
		t.Errorf("error %v", err)
	}
}

func TestMessageLimit(t *testing.T) {
	for maxBody, want := range map[int64]int{
		0: 1<<31 - 1, -1: 1<<31 - 1, 1 << 10: 5 << 20, 64 << 20: 65 << 20, 1 << 40: 1<<31 - 1,
	} {
		if got := MessageLimit(maxBody); got != want {
			t.Errorf("%d: %d, want %d", maxBody, got, want)
		}
	}
}
