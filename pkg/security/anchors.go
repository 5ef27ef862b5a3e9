package security

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/config"
)

// Anchors are the root certificates that this sidecar trusts: those that it was given, and those that sentry, which they
// vouch for, names as well. So a root is replaced without a restart.
type Anchors struct {
	file string
	log  logrus.FieldLogger
	// mu is held while the roots change.
	mu           sync.Mutex
	text         string
	given, named []*x509.Certificate
	pool         atomic.Pointer[x509.CertPool]
	// changed is closed when there are other roots, nil while nobody waits for it.
	changed chan struct{}
}

// errNoAnchors is Dapr's text for a sidecar with mTLS and no roots.
var errNoAnchors = errors.New("couldn't find trust anchors in environment variable DAPR_TRUST_ANCHORS: " +
	"mutual TLS needs the roots that it trusts, there or in the file that DAPR_TRUST_ANCHORS_FILE names")

// NewAnchors reads roots, one PEM block after the other: the text, or else the file.
func NewAnchors(text, file string, log logrus.FieldLogger) (*Anchors, error) {
	a := &Anchors{file: file, log: log}
	if text == "" && file == "" {
		return nil, errNoAnchors
	}
	if text != "" {
		a.file = ""
		_, err := a.give(text, "DAPR_TRUST_ANCHORS")
		return a, err
	}
	_, err := a.read()
	return a, err
}

// read takes the roots of the file; changed says whether they are others.
func (a *Anchors) read() (changed bool, err error) {
	text, err := os.ReadFile(a.file)
	if err != nil {
		return false, fmt.Errorf("read the trust anchors: %w", err)
	}
	return a.give(string(text), a.file)
}

func (a *Anchors) give(text, origin string) (changed bool, err error) {
	roots, err := certificates([]byte(text))
	switch {
	case err != nil:
		return false, fmt.Errorf("trust anchor %d in %s: %w", len(roots)+1, origin, err)
	case len(roots) == 0:
		return false, fmt.Errorf("there is no certificate in PEM form in %s", origin)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	changed = a.text != text
	a.text, a.given = text, roots
	a.refill()
	return changed, nil
}

// name takes the roots that sentry names, in place of those that it named before. What is not self-signed is no root.
func (a *Anchors) name(text []byte) {
	found, err := certificates(text)
	if err != nil {
		a.log.Warnf("the trust anchors that sentry names cannot be read, those before stay: %s", err)
		return
	}
	roots := slices.DeleteFunc(found, func(c *x509.Certificate) bool { return !c.IsCA || c.CheckSignatureFrom(c) != nil })
	a.mu.Lock()
	defer a.mu.Unlock()
	known := slices.Concat(a.given, a.named)
	for _, root := range roots {
		if !slices.ContainsFunc(known, root.Equal) {
			a.log.Infof("sentry names a further trust anchor, good until %s; it is trusted from now on", stamp(root.NotAfter))
		}
	}
	if len(roots) > 0 {
		a.named = roots
		a.refill()
	}
}

// refill makes the pool anew. The caller holds the lock.
func (a *Anchors) refill() {
	pool := x509.NewCertPool()
	for _, root := range slices.Concat(a.given, a.named) {
		pool.AddCert(root)
	}
	before := a.pool.Swap(pool)
	if a.changed != nil && !pool.Equal(before) {
		close(a.changed)
		a.changed = nil
	}
}

// PEM are the roots that are trusted now, for others to trust; next is closed when there are other ones.
func (a *Anchors) PEM() (roots []byte, next <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	all := slices.Concat(a.given, a.named)
	for i, root := range all {
		if !slices.ContainsFunc(all[:i], root.Equal) {
			roots = append(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})...)
		}
	}
	return roots, a.changed
}

// certificates reads PEM blocks. With an error it gives those before the one that cannot be read.
func certificates(text []byte) (all []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return all, nil
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return all, err
		}
		all = append(all, c)
	}
}

// Roots are those that are trusted now.
func (a *Anchors) Roots() *x509.CertPool { return a.pool.Load() }

// reread is how often a file is read again although no change of it was seen.
const reread = time.Minute

// Watch follows the file until ctx ends. Roots that cannot be read leave those before in force. Roots given by value
// stay what they are.
func (a *Anchors) Watch(ctx context.Context) {
	if a.file == "" {
		return
	}
	watcher, err := config.Watch(nil, []string{a.file})
	if err != nil {
		a.log.Warnf("trust anchors are read again each %s only: %s", reread, err)
	}
	defer watcher.Close()
	for told := ""; ctx.Err() == nil; {
		watcher.Next(ctx, reread)
		changed, err := a.read()
		switch {
		case ctx.Err() != nil:
		case err != nil && err.Error() != told:
			told = err.Error()
			a.log.Errorf("the trust anchors stay what they were: %s", err)
		case err == nil:
			if told = ""; changed {
				a.log.Info("trust anchors have changed and are in force")
			}
		}
	}
}
