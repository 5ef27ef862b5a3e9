package sentry

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
)

// store is where the bundle is kept.
type store interface {
	// load gives the texts, none of them where there is no bundle yet.
	load(ctx context.Context) (texts, error)
	// save replaces what load gave last, where it differs, and makes the anchors public; errConflict if somebody else
	// has replaced it since.
	save(ctx context.Context, c texts) error
	// wait returns when the bundle may have changed, at the latest after the interval or when ctx ends.
	wait(ctx context.Context, interval time.Duration)
}

// authority signs with the issuer of the bundle that it holds.
type authority struct {
	rotation
	store   store
	now     func() time.Time
	log     logrus.FieldLogger
	metrics *metrics

	held   atomic.Pointer[holding]
	warned time.Time
}

// holding is a bundle beside the texts that it was read from.
type holding struct {
	*bundle
	texts texts
	// trust are the anchors as clients are told them.
	trust []byte
}

// errConflict says that somebody else has replaced the bundle since it was read.
var errConflict = errors.New("the trust bundle was changed by another one")

// conflicts is how often a refresh begins anew when it was too slow: as there are replicas, more or less.
const conflicts = 5

// refresh brings the bundle up to date. With an error, what was held stays. It is for one goroutine at a time.
func (a *authority) refresh(ctx context.Context) (err error) {
	for range conflicts {
		if err = a.refreshOnce(ctx); !errors.Is(err, errConflict) {
			return err
		}
	}
	return err
}

// refreshOnce reads the bundle, turns it to what it must be now, stores it if that changed it, and signs with it from
// then on.
func (a *authority) refreshOnce(ctx context.Context) error {
	read, err := a.store.load(ctx)
	if err != nil {
		return fmt.Errorf("load the trust bundle: %w", err)
	}
	turned, done, err := a.turnRead(read)
	if err != nil {
		return err
	}
	next := read
	if len(done) > 0 {
		if next, err = turned.encode(); err != nil {
			return err
		}
		if !a.tokens.enabled { // what is there from other days is not ours to remove
			next.tokenKey, next.tokenSet, next.nextTokenKey = read.tokenKey, read.tokenSet, read.nextTokenKey
		}
	}
	if err := a.store.save(ctx, next); err != nil {
		return fmt.Errorf("store the trust bundle: %w", err)
	}
	for _, line := range done {
		a.log.Info(line)
	}
	if held := a.held.Load(); held == nil || held.texts != next {
		a.hold(&holding{bundle: turned, texts: next, trust: []byte(encodeCertificates(turned.anchors))})
	}
	a.warn(turned)
	return nil
}

func (a *authority) turnRead(read texts) (*bundle, []string, error) {
	now := a.now()
	if read == (texts{}) {
		a.log.Info("Root and issuer certs not found: generating self signed CA")
		made, err := a.first(now)
		if err != nil {
			return nil, nil, err
		}
		told, err := a.turnTokens(made)
		return made, append([]string{"Self-signed certs generated and persisted successfully"}, told...), err
	}
	if held := a.held.Load(); held != nil && held.texts == read {
		return a.turn(*held.bundle, now)
	}
	b, err := parse(read)
	if err == nil && a.tokens.enabled {
		b.tokens, err = a.tokens.parse(read)
	}
	if err != nil {
		return nil, nil, err
	}
	return a.turn(*b, now)
}

// hold puts a bundle in force, and tells of it.
func (a *authority) hold(next *holding) {
	if a.held.Swap(next) == nil {
		a.log.Infof("CA certificate key pair ready; the issuer expires on %s", date(next.issuer.expires()))
		return
	}
	a.log.Warn("Issuer credentials changed; reloading")
	a.metrics.issuerChanged.Inc()
}

// warn tells of an end that is near, in the metrics at once and in the log once a day.
func (a *authority) warn(b *bundle) {
	now, issuer := a.now(), b.issuer.chain[0]
	a.metrics.expiry(b.issuer, now.Add(a.window()))
	if b.issuer.expires().After(now.Add(a.window())) || now.Sub(a.warned) < 24*time.Hour {
		return
	}
	a.warned = now
	then := "put a new root and issuer in place before"
	if b.next != nil {
		then = fmt.Sprintf("a new issuer, whose root is among the trust anchors, takes over on %s: restart sidecars that read their "+
			"trust anchors only at their start before", date(a.due(b.next)))
	}
	a.log.Warnf("The root certificate expires on %s, the issuer certificate on %s, in %d days: %s",
		date(b.issuer.root.NotAfter), date(issuer.NotAfter), int(b.issuer.expires().Sub(now)/(24*time.Hour)), then)
}

// watchInterval is how often the bundle is looked at although no change was seen.
const watchInterval = time.Minute

// watch refreshes until ctx ends.
func (a *authority) watch(ctx context.Context) {
	failing := false
	for ctx.Err() == nil {
		a.store.wait(ctx, watchInterval)
		if ctx.Err() != nil {
			return
		}
		err := a.refresh(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			a.log.Errorf("The trust bundle is not renewed, the one before stays in use: %s", err)
		case err == nil && failing:
			a.log.Info("The trust bundle is in order again")
		}
		failing = err != nil
	}
}

// signed is a certificate that the authority has made.
type signed struct {
	// leaf comes first in chain; the root is not in it.
	leaf  *x509.Certificate
	chain []*x509.Certificate
	// trust are the anchors in PEM.
	trust []byte
}

// sign makes a workload certificate. It outlives neither its issuer nor its root.
func (a *authority) sign(who identity, public any) (*signed, error) {
	held, now := a.held.Load(), a.now()
	by := held.issuer
	if held.next != nil && !now.Before(a.due(held.next)) {
		by = held.next
	}
	end := earlier(now.Add(a.ttl), by.expires())
	if !end.After(now) {
		return nil, fmt.Errorf("%w: since %s", errExpired, date(by.expires()))
	}
	template := &x509.Certificate{
		NotBefore:   now.Add(-a.skew),
		NotAfter:    end,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    who.dnsNames(a.own.namespace),
	}
	template.URIs = append(template.URIs, who.id.URL())
	der, err := x509.CreateCertificate(rand.Reader, template, by.chain[0], public, by.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errors.Join(errors.New("the certificate that was made cannot be read"), err)
	}
	return &signed{leaf, append([]*x509.Certificate{leaf}, by.chain...), held.trust}, nil
}
