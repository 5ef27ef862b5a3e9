package security

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/config"
)

// Anchors are the root certificates that this sidecar trusts. Several may be trusted at once, while a root is replaced.
type Anchors struct {
	file string
	log  logrus.FieldLogger
	pool atomic.Pointer[pool]
}

type pool struct {
	roots *x509.CertPool
	text  string
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
		return a, a.set(text, "DAPR_TRUST_ANCHORS")
	}
	return a, a.read()
}

func (a *Anchors) read() error {
	text, err := os.ReadFile(a.file)
	if err != nil {
		return fmt.Errorf("read the trust anchors: %w", err)
	}
	return a.set(string(text), a.file)
}

func (a *Anchors) set(text, origin string) error {
	roots := x509.NewCertPool()
	rest, n := []byte(text), 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("trust anchor %d in %s: %w", n+1, origin, err)
		}
		roots.AddCert(root)
		n++
	}
	if n == 0 {
		return fmt.Errorf("there is no certificate in PEM form in %s", origin)
	}
	a.pool.Store(&pool{roots, text})
	return nil
}

// Roots are those that are trusted now.
func (a *Anchors) Roots() *x509.CertPool { return a.pool.Load().roots }

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
		before := a.pool.Load().text
		err := a.read()
		switch {
		case ctx.Err() != nil:
		case err != nil && err.Error() != told:
			told = err.Error()
			a.log.Errorf("the trust anchors stay what they were: %s", err)
		case err == nil && a.pool.Load().text != before:
			told = ""
			a.log.Info("trust anchors have changed and are in force")
		}
	}
}
