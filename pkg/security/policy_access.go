package security

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The bounds of what is remembered of denials that have been logged.
const (
	maxDeniedCallers    = 1000
	maxDeniedOperations = 100
	// maxLoggedOperation is how many bytes of a path are logged.
	maxLoggedOperation = 200
)

// AccessObserver is told of every decision: the seam of the metrics. The caller is zero where nobody vouches for it; own
// says that its policy has a default action of its own.
type AccessObserver interface {
	AccessDecided(trustDomain, namespace, appID string, own, allowed bool)
}

// AccessControl is the Policy in force over the calls of other sidecars. Before Set it denies all of them. Its methods
// may be called by many goroutines at once.
type AccessControl struct {
	policy   atomic.Pointer[Policy]
	observer AccessObserver
	log      logrus.FieldLogger

	mu sync.Mutex
	// told are the denials that have been logged under the Policy in force.
	told map[Caller]map[string]struct{}
}

// NewAccessControl makes one without a Policy.
func NewAccessControl(observer AccessObserver, log logrus.FieldLogger) *AccessControl {
	a := &AccessControl{observer: observer, log: log}
	a.Set(&Policy{})
	return a
}

// Set puts a Policy in force. Calls that have been let pass go on.
func (a *AccessControl) Set(p *Policy) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told = map[Caller]map[string]struct{}{}
	a.policy.Store(p)
}

// Allow decides on the call of a gRPC server's context: nil, or the status that the caller is to see. Method is the
// canonical path that is called, or the full name of a proxied gRPC method without its slash, whose verb is "".
func (a *AccessControl) Allow(ctx context.Context, method, verb string) error {
	p := a.policy.Load()
	if p.off {
		return nil
	}
	caller, err := CallerOf(ctx)
	allowed, own := false, false
	if err == nil {
		allowed, own = p.decide(caller, method, verb)
	}
	a.observer.AccessDecided(caller.TrustDomain, caller.Namespace, caller.AppID, own, allowed)
	if allowed {
		return nil
	}
	if verb == "" || !p.http {
		verb = NoVerb
	}
	a.tell(caller, err, method, verb)
	return status.Errorf(codes.PermissionDenied, "access control policy has denied access to id: %s operation: /%s verb: %s", caller, method, verb)
}

// tell logs a denial, once for each caller and operation. Of the call it shows the path alone, which is what a policy is
// written for.
func (a *AccessControl) tell(caller Caller, cause error, method, verb string) {
	operation := verb + " /" + method
	if len(operation) > maxLoggedOperation {
		operation = operation[:maxLoggedOperation] + "…"
	}
	if !a.first(caller, operation) {
		return
	}
	id := caller.String()
	switch {
	case cause != nil:
		id = "a caller that cannot be identified: " + cause.Error()
	case id == "":
		id = "a caller without a certificate, on which the global defaultAction decides"
	}
	a.log.Warnf("access control denied %q to %s; further denials of this are counted only", operation, id)
}

// first says whether a denial is to be logged.
func (a *AccessControl) first(caller Caller, operation string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	told := a.told[caller]
	if _, ok := told[operation]; ok || len(told) >= maxDeniedOperations {
		return false
	}
	if told == nil {
		if len(a.told) >= maxDeniedCallers {
			return false
		}
		told = map[string]struct{}{}
		a.told[caller] = told
	}
	told[operation] = struct{}{}
	return true
}
