package messaging

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/proto/wire"
	"github.com/daprd/daprd/pkg/security"
)

const (
	// MaxPeers is how many other sidecars are connected at once; the one that was not used for longest
	// makes room. A connection costs about 40 KiB.
	MaxPeers = 1024
	// PeerIdle is when an unused connection is closed (Dapr 1.18: 3 min).
	PeerIdle = 3 * time.Minute
	// PeerPing and PeerPingTimeout find peers that vanished without a word (Dapr 1.18: 10 s and 5 s).
	PeerPing        = 10 * time.Second
	PeerPingTimeout = 5 * time.Second
	// StreamWindow and ConnWindow are how many bytes of one call, and of all calls of a connection, may be
	// on their way unread. They bound the memory of a slow reader. On one machine twice the window brought
	// no throughput and half of it cost a third; between machines 512 KiB fill 1 GBit/s at 4 ms.
	StreamWindow = 512 << 10
	ConnWindow   = 4 << 20

	// dialTimeout bounds the making of a connection to a host that does not answer at all.
	dialTimeout = 5 * time.Second
	// connsPerPeer bounds the connections to one sidecar, and callsPerConn is when the next one is made. A
	// connection is written and read by one goroutine each, which at 16 calls at once is the cheapest: two
	// connections cost 8 % more processor time, four 12 %, since less goes out with each write.
	connsPerPeer = 4
	callsPerConn = 64
	// messageFloor is what a sidecar takes in one message whatever the body limit is: pieces of bodies and
	// headers come from sidecars whose limits are larger.
	messageFloor = 4 << 20
	// messageRoom is for what stands around a body of the largest size.
	messageRoom = 1 << 20
)

var (
	errPeersClosed  = errors.New("connections to other sidecars are closed: this sidecar is shutting down")
	errTooManyPeers = fmt.Errorf("more than %d other sidecars are called at once", MaxPeers)
)

// Credentials secure the connections to other sidecars.
type Credentials interface {
	// Transport gives the transport security towards the sidecars of one application.
	Transport(target nameresolution.Target) credentials.TransportCredentials
}

// Insecure are the Credentials of sidecars without mTLS.
type Insecure struct{}

// Transport gives a plaintext transport.
func (Insecure) Transport(nameresolution.Target) credentials.TransportCredentials {
	return insecure.NewCredentials()
}

// Mutual are the Credentials of sidecars with mTLS: a peer has to show the certificate of the application that is called.
type Mutual struct{ Identity *security.Identity }

// Transport gives a transport to the sidecars of one application alone.
func (m Mutual) Transport(target nameresolution.Target) credentials.TransportCredentials {
	return credentials.NewTLS(m.Identity.ClientConfig(security.Peer{Namespace: target.Namespace, AppID: target.AppID}))
}

// MessageLimit is the largest message, in bytes, that sidecars exchange when bodies are limited to
// maxBody; without a limit (0 and less) there is none.
func MessageLimit(maxBody int64) int {
	if maxBody <= 0 || maxBody > math.MaxInt32-messageRoom {
		return math.MaxInt32
	}
	return int(max(maxBody, messageFloor)) + messageRoom
}

// Peers are the connections to other sidecars, made when they are first needed.
type Peers struct {
	credentials Credentials
	options     []grpc.DialOption
	now         func() time.Time

	mu      sync.RWMutex
	peers   map[peerKey]*peer
	retired map[*peer]struct{}
	closed  bool
}

type peerKey struct{ address, appID, namespace string }

// NewPeers makes no connection yet. maxBody is the body limit in bytes, 0 and less for none.
func NewPeers(creds Credentials, maxBody int64) *Peers {
	limit := MessageLimit(maxBody)
	return &Peers{
		credentials: creds,
		now:         time.Now,
		peers:       map[peerKey]*peer{},
		retired:     map[*peer]struct{}{},
		options: []grpc.DialOption{
			// The proxy of the environment is for the world outside, not for neighbours.
			grpc.WithNoProxy(),
			grpc.WithDisableServiceConfig(),
			grpc.WithIdleTimeout(PeerIdle),
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: dialTimeout}),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{
				Time: PeerPing, Timeout: PeerPingTimeout, PermitWithoutStream: true,
			}),
			grpc.WithStaticStreamWindowSize(StreamWindow),
			grpc.WithStaticConnWindowSize(ConnWindow),
			grpc.WithDefaultCallOptions(
				grpc.ForceCodecV2(wire.Codec{}),
				grpc.MaxCallRecvMsgSize(limit),
				grpc.MaxCallSendMsgSize(math.MaxInt32),
			),
		},
	}
}

// peer is one other sidecar.
type peer struct {
	owner *Peers
	key   peerKey
	creds credentials.TransportCredentials
	// unaryOnly is set once the sidecar has answered that it does not know CallLocalStream.
	unaryOnly atomic.Bool

	calls  atomic.Int64
	idle   atomic.Int64 // unix nanoseconds of the end of the last call
	gone   atomic.Bool  // retired: closed when the last call ends
	next   atomic.Uint32
	conns  atomic.Pointer[[]*grpc.ClientConn]
	mu     sync.Mutex // for changing conns and closed
	closed bool
}

// use gives the peer at address for one call; the caller releases it.
func (p *Peers) use(target nameresolution.Target, address string) (*peer, error) {
	key := peerKey{address: address, appID: target.AppID, namespace: target.Namespace}
	p.mu.RLock()
	found, ok := p.peers[key]
	if ok {
		found.calls.Add(1)
	}
	p.mu.RUnlock()
	if ok {
		return found, nil
	}
	return p.add(key, target)
}

func (p *Peers) add(key peerKey, target nameresolution.Target) (*peer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errPeersClosed
	}
	found, ok := p.peers[key]
	if !ok {
		if err := p.makeRoom(); err != nil {
			return nil, err
		}
		found = &peer{owner: p, key: key, creds: p.credentials.Transport(target)}
		if err := found.grow(1); err != nil {
			return nil, err
		}
		p.peers[key] = found
	}
	found.calls.Add(1)
	return found, nil
}

// makeRoom closes what was not used for long, and when the pool is full the longest unused.
func (p *Peers) makeRoom() error {
	now := p.now().UnixNano()
	var oldest *peer
	for key, candidate := range p.peers {
		if candidate.calls.Load() > 0 {
			continue
		}
		if now-candidate.idle.Load() > int64(PeerIdle) {
			delete(p.peers, key)
			candidate.close()
			continue
		}
		if oldest == nil || candidate.idle.Load() < oldest.idle.Load() {
			oldest = candidate
		}
	}
	if len(p.peers) < MaxPeers {
		return nil
	}
	if oldest == nil {
		return errTooManyPeers
	}
	delete(p.peers, oldest.key)
	oldest.close()
	return nil
}

// ready says whether a call to the sidecar could leave at once.
func (p *Peers) ready(target nameresolution.Target, address string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	found, ok := p.peers[peerKey{address: address, appID: target.AppID, namespace: target.Namespace}]
	return ok && (*found.conns.Load())[0].GetState() == connectivity.Ready
}

// connect begins to make the connection, if there is none.
func (p *Peers) connect(target nameresolution.Target, address string) {
	found, err := p.use(target, address)
	if err != nil {
		return
	}
	(*found.conns.Load())[0].Connect()
	found.release()
}

// Close ends all connections and the calls on them, and waits for both.
func (p *Peers) Close() error {
	p.mu.Lock()
	all := p.retired
	for _, each := range p.peers {
		all[each] = struct{}{}
	}
	p.peers, p.retired, p.closed = nil, nil, true
	p.mu.Unlock()
	for each := range all {
		each.close()
	}
	return nil
}

// retire makes the next call use new connections. Calls in flight on the old ones go on: a sidecar that
// drains answers them.
func (p *peer) retire() {
	p.owner.mu.Lock()
	if p.owner.peers[p.key] == p {
		delete(p.owner.peers, p.key)
		p.owner.retired[p] = struct{}{}
	}
	p.gone.Store(true)
	p.owner.mu.Unlock()
}

func (p *peer) release() {
	if p.calls.Add(-1) > 0 {
		return
	}
	p.idle.Store(p.owner.now().UnixNano())
	if !p.gone.Load() {
		return
	}
	p.owner.mu.Lock()
	delete(p.owner.retired, p)
	p.owner.mu.Unlock()
	p.close()
}

func (p *peer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	for _, conn := range *p.conns.Load() {
		_ = conn.Close()
	}
}

// conn is the connection for the next call: one more while all are busy, up to connsPerPeer.
func (p *peer) conn() *grpc.ClientConn {
	conns := *p.conns.Load()
	calls := p.calls.Load()
	if len(conns) < connsPerPeer && calls > int64(len(conns))*callsPerConn {
		// An error is one of the settings, which the first connection would have had.
		_ = p.grow(len(conns) + 1)
		conns = *p.conns.Load()
	}
	if len(conns) == 1 || calls <= callsPerConn {
		return conns[0]
	}
	return conns[p.next.Add(1)%uint32(len(conns))]
}

func (p *peer) grow(size int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var conns []*grpc.ClientConn
	if have := p.conns.Load(); have != nil {
		conns = *have
	}
	if p.closed || len(conns) >= size {
		return nil
	}
	conn, err := grpc.NewClient("passthrough:///"+p.key.address,
		append(p.owner.options[:len(p.owner.options):len(p.owner.options)], grpc.WithTransportCredentials(p.creds))...)
	if err != nil {
		return fmt.Errorf("connect to the sidecar at %s: %w", p.key.address, err)
	}
	grown := append(conns[:len(conns):len(conns)], conn)
	p.conns.Store(&grown)
	return nil
}

// newStream opens a stream on one of the connections. When it fails nothing has reached the peer.
func (p *peer) newStream(ctx context.Context, desc *grpc.StreamDesc, method string, options ...grpc.CallOption) (grpc.ClientStream, error) {
	return p.conn().NewStream(ctx, desc, method, options...)
}
