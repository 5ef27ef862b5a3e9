package security

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

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

var errOneURI = errors.New("the peer's certificate must have exactly one URI")

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
	uris := info.State.PeerCertificates[0].URIs
	if len(uris) != 1 {
		return Caller{}, errOneURI
	}
	return parseCaller(uris[0])
}

// parseCaller reads spiffe://<trust domain>/ns/<namespace>/<app id>, and nothing else.
func parseCaller(u *url.URL) (Caller, error) {
	if u.Scheme != "spiffe" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.RawPath != "" {
		return Caller{}, fmt.Errorf("%q is no SPIFFE id", u)
	}
	domain, err := spiffeid.TrustDomainFromString(u.Host)
	if err == nil {
		err = spiffeid.ValidatePath(u.Path)
	}
	if err != nil {
		return Caller{}, fmt.Errorf("%q is no SPIFFE id: %w", u, err)
	}
	rest, isNamed := strings.CutPrefix(u.Path, "/ns/")
	namespace, appID, isApp := strings.Cut(rest, "/")
	if !isNamed || !isApp || strings.Contains(appID, "/") {
		return Caller{}, fmt.Errorf("%q is not the SPIFFE id of an application (spiffe://<trust domain>/ns/<namespace>/<app id>)", u)
	}
	return Caller{TrustDomain: domain.Name(), Namespace: namespace, AppID: appID}, nil
}
