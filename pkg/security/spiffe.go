package security

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// errOneURI is for certificates that name nobody, or several: the standard wants exactly one SPIFFE id.
var errOneURI = errors.New("want a certificate with one SPIFFE id")

// named reads the SPIFFE id of a certificate: exactly one, as the standard demands, and in its one valid form. Everything
// that asks who a certificate is for comes here. It allocates nothing for those that are in order.
func named(leaf *x509.Certificate) (domain spiffeid.TrustDomain, path string, err error) {
	if len(leaf.URIs) != 1 {
		return domain, "", fmt.Errorf("%w, got %d URIs", errOneURI, len(leaf.URIs))
	}
	u := leaf.URIs[0]
	if u.Scheme != "spiffe" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.RawPath != "" {
		return domain, "", fmt.Errorf("%s is no SPIFFE id", u)
	}
	domain, err = spiffeid.TrustDomainFromString(u.Host)
	if err == nil {
		err = spiffeid.ValidatePath(u.Path)
	}
	if err != nil {
		return spiffeid.TrustDomain{}, "", fmt.Errorf("%s is no SPIFFE id: %w", u, err)
	}
	return domain, u.Path, nil
}

// Caller is the application behind a call, as the certificate of its sidecar names it. The zero Caller is one without a
// certificate, whom nobody vouches for.
type Caller struct{ TrustDomain, Namespace, AppID string }

// String is the SPIFFE id, "" for the zero Caller.
func (c Caller) String() string {
	if c == (Caller{}) {
		return ""
	}
	return "spiffe://" + c.TrustDomain + "/ns/" + c.Namespace + "/" + c.AppID
}

// callerOf reads spiffe://<trust domain>/ns/<namespace>/<app id>, and nothing else.
func callerOf(leaf *x509.Certificate) (Caller, error) {
	domain, path, err := named(leaf)
	if err != nil {
		return Caller{}, err
	}
	rest, isNamed := strings.CutPrefix(path, "/ns/")
	namespace, appID, isApp := strings.Cut(rest, "/")
	if !isNamed || !isApp || strings.Contains(appID, "/") {
		return Caller{}, fmt.Errorf("%q is not the SPIFFE id of an application (spiffe://<trust domain>/ns/<namespace>/<app id>)", leaf.URIs[0].String())
	}
	return Caller{TrustDomain: domain.Name(), Namespace: namespace, AppID: appID}, nil
}

// CallerOf is who makes the call of a gRPC server's context. A connection without TLS, or without a certificate of the
// peer, gives the zero Caller; a certificate that names no application gives an error. The server has verified the
// certificate. It allocates nothing.
func CallerOf(ctx context.Context) (Caller, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return Caller{}, nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return Caller{}, nil
	}
	return callerOf(info.State.PeerCertificates[0])
}

// Peer is who a peer has to be.
type Peer struct {
	// TrustDomain is "" for any that the anchors vouch for.
	TrustDomain, Namespace, AppID string
}

// check is nil for a certificate of the peer.
func (p Peer) check(leaf *x509.Certificate) error {
	shown, err := callerOf(leaf)
	switch {
	case err != nil:
		return err
	case shown.Namespace != p.Namespace || shown.AppID != p.AppID || p.TrustDomain != "" && p.TrustDomain != shown.TrustDomain:
		return fmt.Errorf("it is that of %s", shown)
	}
	return nil
}

// String is the id, with * for any trust domain.
func (p Peer) String() string {
	domain := p.TrustDomain
	if domain == "" {
		domain = "*"
	}
	return fmt.Sprintf("spiffe://%s/ns/%s/%s", domain, p.Namespace, p.AppID)
}
