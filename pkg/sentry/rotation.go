package sentry

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// warnAhead is how long before the end of root or issuer the warnings begin, and, where it is the authority's own,
// its replacement.
const warnAhead = 30 * 24 * time.Hour

// window is longer where workload certificates live so long that the new root would not be known everywhere in time.
func (s settings) window() time.Duration { return max(warnAhead, 2*s.overlap()) }

var errExpired = errors.New("the issuer is expired")

// rotation decides what a bundle must become. It reads the plan from the certificates themselves, so that it needs no
// memory of its own, and all replicas of the authority decide the same:
//
//   - window before the end, a new root joins the anchors, and the issuer under it waits; its validity begins when it
//     is due to sign, skew apart. Sidecars learn of the root with their next certificate, others with their next start.
//   - One overlap before the end it takes over: certificates signed until then are over when the old root is.
//   - The old root leaves the anchors when it is over.
//
// The key of tokens goes with the issuer: the next one is in the set from the same day on, takes over at the same time,
// and the old one leaves the set when the old root leaves the anchors.
type rotation struct {
	own identity
	settings
	tokens tokenPlan
}

// first is the bundle of a new authority.
func (r rotation) first(now time.Time) (*bundle, error) {
	made, err := generate(r.own, r.settings, now, now)
	if err != nil {
		return nil, err
	}
	return &bundle{anchors: []*x509.Certificate{made.root}, issuer: made}, nil
}

// due is when the next issuer takes over.
func (r rotation) due(next *issuer) time.Time { return next.chain[0].NotBefore.Add(r.skew) }

// turn gives the bundle that holds at now, and a line for the log on each thing that it changed. A bundle that has
// ended and may not be replaced is errExpired.
func (r rotation) turn(b bundle, now time.Time) (turned *bundle, done []string, err error) {
	if end := b.issuer.expires(); b.next == nil && r.replaceable(b.issuer) && !now.Before(end.Add(-r.window())) {
		if b.next, err = r.announce(end, now); err != nil {
			return nil, nil, err
		}
		b.anchors = append(b.anchors[:len(b.anchors):len(b.anchors)], b.next.root)
		done = append(done, fmt.Sprintf("The issuer expires on %s: a new root certificate has joined the trust anchors, its issuer takes over on %s. "+
			"Sidecars that read their trust anchors only at their start must be restarted before", date(end), date(r.due(b.next))))
	}
	if b.next != nil && !now.Before(earlier(r.due(b.next), b.issuer.expires())) {
		b.issuer, b.next = b.next, nil
		done = append(done, fmt.Sprintf("A new issuer has taken over; it expires on %s", date(b.issuer.expires())))
	}
	told, err := r.turnTokens(&b)
	if err != nil {
		return nil, nil, err
	}
	done = append(done, told...)
	kept := make([]*x509.Certificate, 0, len(b.anchors))
	for _, anchor := range b.anchors {
		if r.over(anchor, &b, now) {
			done = append(done, fmt.Sprintf("The root certificate that expired on %s has left the trust anchors", date(anchor.NotAfter)))
			continue
		}
		kept = append(kept, anchor)
	}
	if b.tokens != nil && len(kept) < len(b.anchors) && r.tokens.keyID == "" {
		if b.tokens, err = r.tokens.forget(b.tokens); err != nil {
			return nil, nil, err
		}
	}
	b.anchors = kept
	if end := b.issuer.expires(); now.After(end) {
		return nil, nil, fmt.Errorf("%w: since %s; put a new one in place", errExpired, date(end))
	}
	return &b, done, nil
}

// turnTokens has the keys of tokens follow the issuers.
func (r rotation) turnTokens(b *bundle) (done []string, err error) {
	switch {
	case !r.tokens.enabled:
		return nil, nil
	case b.tokens == nil:
		b.tokens, err = r.tokens.first()
		return []string{"A key for JWT-SVIDs was generated"}, err
	case b.next != nil && b.tokens.next == nil && r.tokens.keyID == "":
		b.tokens, err = r.tokens.announce(b.tokens)
		return []string{fmt.Sprintf("A new key for JWT-SVIDs has joined the key set, it takes over on %s", date(r.due(b.next)))}, err
	case b.next == nil && b.tokens.next != nil:
		b.tokens = r.tokens.takeOver(b.tokens)
		return []string{"The new key for JWT-SVIDs has taken over"}, nil
	}
	return nil, nil
}

// announce makes the issuer that follows one which ends at end. Where there is no time for all of the plan, half of
// what is left is for the new root to become known.
func (r rotation) announce(end, now time.Time) (*issuer, error) {
	due := now
	if now.Before(end) {
		due = later(end.Add(-r.overlap()), now.Add(end.Sub(now)/2))
	}
	return generate(r.own, r.settings, now, due)
}

func (r rotation) replaceable(i *issuer) bool { return selfMade(i.root, r.own.id.TrustDomain()) }

// over says whether an anchor has no use any more. One that was brought is for those to remove who brought it.
func (r rotation) over(anchor *x509.Certificate, b *bundle, now time.Time) bool {
	inUse := anchor.Equal(b.issuer.root) || b.next != nil && anchor.Equal(b.next.root)
	return !inUse && now.After(anchor.NotAfter) && selfMade(anchor, r.own.id.TrustDomain())
}

func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }
