package sentry

import (
	"fmt"
	"regexp"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// clusterDomain is the one that sidecars of Dapr 1.7 expect, whatever the cluster's is.
const clusterDomain = "cluster.local"

// ownAppID is sentry's name in its own namespace.
const ownAppID = "dapr-sentry"

// publicDomain is the trust domain of those who ask for none.
const publicDomain = "public"

// identity is whom a certificate is for.
type identity struct {
	id               spiffeid.ID
	namespace, appID string
}

// newIdentity makes spiffe://<domain>/ns/<namespace>/<appID>. The error tells what cannot be part of such an id.
func newIdentity(domain spiffeid.TrustDomain, namespace, appID string) (identity, error) {
	id, err := spiffeid.FromSegments(domain, "ns", namespace, appID)
	if err != nil {
		return identity{}, fmt.Errorf("namespace %q and app ID %q make no SPIFFE ID: %w", namespace, appID, err)
	}
	return identity{id, namespace, appID}, nil
}

// dnsNames are the names by which peers may check the certificate's owner in place of the id: sidecars of Dapr 1.7
// check the first, the API server those of its webhooks. controlPlane is the namespace of the control plane.
func (i identity) dnsNames(controlPlane string) []string {
	names := []string{i.appID + "." + i.namespace + ".svc." + clusterDomain}
	if i.namespace == controlPlane {
		names = append(names, i.serviceNames()...)
	}
	return valid(names)
}

// serviceNames are those by which a part of the control plane is reached apart from its id.
func (i identity) serviceNames() (names []string) {
	switch i.appID {
	case ownAppID:
		// A sidecar of Dapr 1.7 expects this name of every part of the control plane.
		return []string{clusterDomain}
	case "dapr-injector":
		return []string{"dapr-sidecar-injector." + i.namespace + ".svc"}
	case "dapr-operator":
		return []string{"dapr-webhook." + i.namespace + ".svc"}
	case "dapr-scheduler":
		for n := range 3 {
			names = append(names, fmt.Sprintf("dapr-scheduler-server-%d.dapr-scheduler-server.%s.svc.%s", n, i.namespace, clusterDomain))
		}
	}
	return names
}

// hostName is what may stand in a certificate as a DNS name: readers refuse the whole certificate for another one.
var hostName = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$`)

// valid drops the names of ids that are too long or too odd for DNS; such an owner is known by its id alone.
func valid(names []string) (kept []string) {
	for _, name := range names {
		if validName(name) {
			kept = append(kept, name)
		}
	}
	return kept
}

func validName(name string) bool { return len(name) <= 253 && hostName.MatchString(name) }
