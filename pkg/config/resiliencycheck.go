package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds of a Resiliency resource.
const (
	maxTrip      = 4 << 10
	maxCacheSize = 100_000
	maxCalls     = 1 << 30
)

// Check finds what is wrong with the resource by itself, each with file, document, line and path; whether trip
// expressions and lists of statuses can be read is for whoever runs them.
func (r *Resiliency) Check() error {
	if r.Fault != nil {
		return r.Fault
	}
	faults := r.checkPolicies()
	targets := &r.Spec.Targets
	for _, name := range sortedNames(targets.Apps) {
		faults = append(faults, r.checkCache(targets.Apps[name].CircuitBreakerCacheSize, "apps", name))
	}
	for _, name := range sortedNames(targets.Actors) {
		target := targets.Actors[name]
		faults = append(faults, r.checkCache(target.CircuitBreakerCacheSize, "actors", name), r.checkScope(&target, name))
	}
	return errors.Join(faults...)
}

func (r *Resiliency) checkPolicies() (faults []error) {
	policies := &r.Spec.Policies
	tell := func(kind, name, field, format string, args ...any) {
		faults = append(faults, r.At(fmt.Errorf(format, args...), "spec", "policies", kind, name, field))
	}
	for _, name := range sortedNames(policies.Retries) {
		retry := policies.Retries[name]
		if !slices.Contains([]string{"", "constant", "exponential"}, strings.ToLower(retry.Policy)) {
			tell("retries", name, "policy", "%q is not known, want constant or exponential", retry.Policy)
		}
		if n := retry.MaxRetries; n != nil && (*n < -1 || *n > maxCalls) {
			tell("retries", name, "maxRetries", "%d is out of range, want -1 (without end), 0 (no retry) or more", *n)
		}
	}
	for _, name := range sortedNames(policies.CircuitBreakers) {
		breaker := policies.CircuitBreakers[name]
		if n := breaker.MaxRequests; n < 0 || n > maxCalls {
			tell("circuitBreakers", name, "maxRequests", "%d is out of range, want 1 or more", n)
		}
		if len(breaker.Trip) > maxTrip {
			tell("circuitBreakers", name, "trip", "the expression is longer than %d bytes", maxTrip)
		}
	}
	return faults
}

func (r *Resiliency) checkCache(size int, kind, name string) error {
	if size >= 0 && size <= maxCacheSize {
		return nil
	}
	return r.At(fmt.Errorf("%d is out of range, want 1 to %d", size, maxCacheSize), "spec", "targets", kind, name, "circuitBreakerCacheSize")
}

func (r *Resiliency) checkScope(target *ActorTarget, name string) error {
	path := []string{"spec", "targets", "actors", name, "circuitBreakerScope"}
	switch scope := target.CircuitBreakerScope; {
	case scope == "" && target.CircuitBreaker != "":
		return r.At(errors.New("actor circuit breakers must include scope: type, id or both"), path...)
	case scope != "" && !slices.Contains([]string{"type", "id", "both"}, scope):
		return r.At(fmt.Errorf("%q is not known, want type, id or both", scope), path...)
	}
	return nil
}
