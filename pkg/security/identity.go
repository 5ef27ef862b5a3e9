package security

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	// firstTries and tryTime bound the first certificate: a sidecar without one cannot start (Dapr 1.18: 5 × 3 s).
	firstTries = 5
	tryTime    = 3 * time.Second
	// renewalPart is the part of its lifetime after which a certificate is renewed (Dapr 1.18), and renewalJitter how much
	// earlier at most, as a part of the lifetime, so that the sidecars of a cluster do not ask at once.
	renewalPart   = 0.5
	renewalJitter = 0.1
	// clockCheck bounds how long the renewal trusts a timer: clocks are set, and machines sleep.
	clockCheck = time.Minute
	// firstBackoff and longestBackoff pace the renewal while sentry is away.
	firstBackoff   = 10 * time.Second
	longestBackoff = 5 * time.Minute
	// refusalPause is how long a refusal of the same kind is not logged again.
	refusalPause = time.Minute
	// mostRefusals bounds how many of them are told apart in that time; further ones are not logged.
	mostRefusals = 100
)

// Signer gives a certificate for a request, both in PEM: Sentry does. The chain begins with the leaf; anchors are all roots
// that are trusted, as far as the signer names them.
type Signer interface {
	Sign(ctx context.Context, request []byte) (chain, anchors []byte, err error)
}

// Observer is told how certificates were obtained: the seam of the metrics.
type Observer interface {
	// IdentityObtained is told of the first certificate, IdentityRenewed of the later ones; err is nil for success.
	IdentityObtained(err error)
	IdentityRenewed(err error)
}

// Identity is who this sidecar is: a certificate that is renewed before it expires, and whom it trusts. Connections that
// stand are not touched by a renewal.
type Identity struct {
	appID    string
	log      logrus.FieldLogger
	observer Observer
	now      func() time.Time
	// signer and anchors are there since Establish.
	signer  Signer
	anchors *Anchors

	// obtaining is held while the first certificate is asked for.
	obtaining sync.Mutex
	current   atomic.Pointer[credential]

	mu      sync.Mutex
	refuses map[string]time.Time
}

// credential is a certificate and when it ends.
type credential struct {
	tls      *tls.Certificate
	notAfter time.Time
	renewal  time.Time
}

// NewIdentity makes one without a certificate; observer may be nil.
func NewIdentity(appID string, log logrus.FieldLogger, observer Observer) *Identity {
	return &Identity{appID: appID, log: log, observer: observer, now: time.Now, refuses: map[string]time.Time{}}
}

// Establish says whom to trust and who gives certificates. It comes before everything else, once.
func (i *Identity) Establish(anchors *Anchors, signer Signer) { i.anchors, i.signer = anchors, signer }

// Obtain asks for the first certificate, if there is none yet.
func (i *Identity) Obtain(ctx context.Context) error {
	i.obtaining.Lock()
	defer i.obtaining.Unlock()
	if i.current.Load() != nil {
		return nil
	}
	var err error
	for range firstTries {
		try, cancel := context.WithTimeout(ctx, tryTime)
		err = i.renew(try)
		<-ended(try, err) // a refusal comes at once: the next try has its turn only when this one's time is over
		cancel()
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	if i.observer != nil {
		i.observer.IdentityObtained(err)
	}
	if err != nil {
		return fmt.Errorf("error from authenticator CreateSignedWorkloadCert: %w", err)
	}
	return nil
}

// ended is closed when a failed try may be followed by the next.
func ended(try context.Context, err error) <-chan struct{} {
	if err == nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	return try.Done()
}

// Expires is when the certificate in use expires, zero for none.
func (i *Identity) Expires() time.Time {
	if c := i.current.Load(); c != nil {
		return c.notAfter
	}
	return time.Time{}
}

var errNoIdentity = errors.New("this sidecar has no certificate yet")

func (i *Identity) certificate() (*tls.Certificate, error) {
	c := i.current.Load()
	if c == nil {
		return nil, errNoIdentity
	}
	return c.tls, nil
}

// renew takes a new key and certificate into use.
func (i *Identity) renew(ctx context.Context) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	// Sentry of 1.18 reads the key alone; that of 1.7 takes the app id from here.
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: i.appID}, DNSNames: []string{i.appID}}, key)
	if err != nil {
		return err
	}
	chain, anchors, err := i.signer.Sign(ctx, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request}))
	if err != nil {
		return err
	}
	i.anchors.name(anchors)
	c, err := i.read(chain, key)
	if err != nil {
		return fmt.Errorf("the certificate that sentry gave: %w", err)
	}
	i.current.Store(c)
	return nil
}

func (i *Identity) read(chain []byte, key *ecdsa.PrivateKey) (*credential, error) {
	parsed, err := certificates(chain)
	if err == nil && len(parsed) == 0 {
		err = errors.New("there is none in its answer")
	}
	if err != nil {
		return nil, err
	}
	leaf := parsed[0]
	pair := &tls.Certificate{PrivateKey: key, Leaf: leaf}
	for _, c := range parsed {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, errors.New("it is for another key")
	}
	if _, err := verified(tls.ConnectionState{PeerCertificates: parsed}, i.anchors.Roots(), i.now(), x509.ExtKeyUsageServerAuth); err != nil {
		return nil, err
	}
	// The time of its making is not exact: authorities allow for clocks that differ. What is left of it counts.
	begin := leaf.NotBefore
	if now := i.now(); now.After(begin) {
		begin = now
	}
	lifetime := float64(leaf.NotAfter.Sub(begin))
	part := renewalPart - renewalJitter*mathrand.Float64()
	return &credential{tls: pair, notAfter: leaf.NotAfter, renewal: begin.Add(time.Duration(lifetime * part))}, nil
}

// Run renews the certificate until ctx ends, and follows the trust anchors.
func (i *Identity) Run(ctx context.Context) {
	var wait sync.WaitGroup
	defer wait.Wait()
	wait.Go(func() { i.anchors.Watch(ctx) })
	var failing time.Time
	for backoff := firstBackoff; ; {
		next := i.current.Load().renewal
		if !failing.IsZero() {
			next = i.now().Add(backoff/2 + mathrand.N(backoff/2))
			backoff = min(2*backoff, longestBackoff)
		}
		if !i.await(ctx, next) {
			return
		}
		try, cancel := context.WithTimeout(ctx, tryTime)
		err := i.renew(try)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if i.observer != nil {
			i.observer.IdentityRenewed(err)
		}
		failing, backoff = i.tell(err, failing, backoff)
	}
}

// tell logs how a renewal went: a failure once, and its end.
func (i *Identity) tell(err error, failing time.Time, backoff time.Duration) (time.Time, time.Duration) {
	expires := stamp(i.current.Load().notAfter)
	switch {
	case err != nil && failing.IsZero():
		i.log.Errorf("the workload certificate could not be renewed; it is tried again until it works, and the one in use is good until %s: %s", expires, err)
		return i.now(), backoff
	case err != nil:
		i.log.Debugf("the workload certificate could not be renewed: %s", err)
		return failing, backoff
	case !failing.IsZero():
		i.log.Infof("the workload certificate is renewed after failures for %s. current cert expires on: %s", i.now().Sub(failing).Round(time.Second), expires)
	default:
		i.log.Infof("the workload certificate is renewed. current cert expires on: %s", expires)
	}
	return time.Time{}, firstBackoff
}

// await waits for a time of the clock, which may be set meanwhile. It is false when ctx ended.
func (i *Identity) await(ctx context.Context, at time.Time) bool {
	for {
		left := at.Sub(i.now())
		if left <= 0 {
			return ctx.Err() == nil
		}
		timer := time.NewTimer(min(left, clockCheck))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// refused logs a caller that was turned away: each once a minute, since callers try again and again.
func (i *Identity) refused(who string, err error) {
	if i.isNews(who) {
		i.log.Warnf("a call from another sidecar is refused: its certificate is not trusted: %s", err)
	}
}

// isNews says whether a refusal of who was not logged for a while.
func (i *Identity) isNews(who string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.now()
	maps.DeleteFunc(i.refuses, func(_ string, at time.Time) bool { return now.Sub(at) >= refusalPause })
	if _, told := i.refuses[who]; told || len(i.refuses) >= mostRefusals {
		return false
	}
	i.refuses[who] = now
	return true
}
