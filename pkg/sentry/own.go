package sentry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// own is the server's certificate, made by the authority in the same process. It is made anew when half of its time is
// over, and when the authority has another bundle. Connections that are open go on.
type own struct {
	authority *authority
	metrics   *metrics
	log       logrus.FieldLogger

	mu          sync.Mutex
	certificate *tls.Certificate
	// under is the bundle that certificate was made under, renewal when it is to be made anew.
	under   *holding
	renewal time.Time
}

// tls has clients show no certificate of theirs: a token is what they prove themselves with.
func (o *own) tls() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return o.current() },
	}
}

// current makes the certificate if that is due. While it fails the one before is shown, as long as it is valid.
func (o *own) current() (*tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	held, now := o.authority.held.Load(), o.authority.now()
	if o.certificate != nil && o.under == held && now.Before(o.renewal) {
		return o.certificate, nil
	}
	made, err := o.make()
	if err != nil {
		o.metrics.serverFailed.WithLabelValues("sign").Inc()
		o.log.Errorf("Failed to make the server's own certificate: %s", err)
		if o.certificate != nil && now.Before(o.certificate.Leaf.NotAfter) {
			return o.certificate, nil
		}
		return nil, err
	}
	o.certificate, o.under = made, held
	o.renewal = now.Add(made.Leaf.NotAfter.Sub(now) / 2)
	o.log.Infof("Workload identity of the server: the certificate expires on %s, renewal at %s", date(made.Leaf.NotAfter), date(o.renewal))
	return made, nil
}

func (o *own) make() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	made, err := o.authority.sign(o.authority.own, key.Public())
	if err != nil {
		return nil, err
	}
	certificate := &tls.Certificate{PrivateKey: key, Leaf: made.leaf}
	for _, c := range made.chain {
		certificate.Certificate = append(certificate.Certificate, c.Raw)
	}
	return certificate, nil
}
