package resiliency

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/daprd/daprd/pkg/config"
)

const (
	// maxTargets bounds the targets that are remembered: with a default policy callers name any number of them.
	maxTargets = 1000
	// defaultCache is how many methods of an application have breakers of their own (Dapr 1.18).
	defaultCache = 100
	// defaultActorCache is how many actors of a type have breakers of their own (Dapr 1.18).
	defaultActorCache = 5000
)

// table is what the resources in force say together.
type table struct {
	policies *Policies
	names    []string
	timeouts map[string]*timeoutPolicy
	retries  map[string]*retryPolicy
	breakers map[string]*breakerPolicy

	apps       map[string]config.AppTarget
	components map[string]config.ComponentTarget
	actors     map[string]config.ActorTarget
	// anyApp and anyActor say that default policies hold for applications, and for actors.
	anyApp, anyActor bool
	// dangling tells of targets that name what nobody defines.
	dangling []string

	change  sync.Mutex
	targets *lru.Cache[key, *target]
}

func newTable(p *Policies, resources []config.Resiliency) (*table, error) {
	targets, err := lru.New[key, *target](maxTargets)
	if err != nil {
		return nil, err
	}
	t := &table{policies: p, targets: targets,
		timeouts: map[string]*timeoutPolicy{}, retries: map[string]*retryPolicy{}, breakers: map[string]*breakerPolicy{},
		apps: map[string]config.AppTarget{}, components: map[string]config.ComponentTarget{},
		actors: map[string]config.ActorTarget{}}
	var faults []error
	for i := range resources {
		r := &resources[i]
		t.names = append(t.names, r.Meta.Name)
		faults = append(faults, r.Check())
		faults = append(faults, t.addPolicies(r)...)
		maps.Copy(t.apps, r.Spec.Targets.Apps)
		maps.Copy(t.components, r.Spec.Targets.Components)
		maps.Copy(t.actors, r.Spec.Targets.Actors)
	}
	for i := range resources {
		t.checkNames(&resources[i])
	}
	t.anyApp, t.anyActor = !t.byDefault(key{}).empty(), !t.byDefault(key{block: actorBlock}).empty()
	return t, joined(faults)
}

// addPolicies compiles the policies of a resource.
func (t *table) addPolicies(r *config.Resiliency) (faults []error) {
	for name, after := range r.Spec.Policies.Timeouts {
		t.timeouts[name] = &timeoutPolicy{name, r.Meta.Name, time.Duration(after)}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Spec.Policies.Retries)) {
		written := r.Spec.Policies.Retries[name]
		found, field, err := newMatching(written.Matching)
		if err != nil {
			faults = append(faults, r.At(err, "spec", "policies", "retries", name, "matching", field))
			continue
		}
		t.retries[name] = &retryPolicy{name, r.Meta.Name, newRetry(name, written), found,
			[2]string{string(written.Matching.HTTPStatusCodes), string(written.Matching.GRPCStatusCodes)}}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Spec.Policies.CircuitBreakers)) {
		compiled, err := newBreakerPolicy(name, r.Meta.Name, r.Spec.Policies.CircuitBreakers[name])
		if err != nil {
			faults = append(faults, r.At(err, "spec", "policies", "circuitBreakers", name, "trip"))
			continue
		}
		t.breakers[name] = compiled
	}
	return faults
}

func newBreakerPolicy(name, resource string, c config.CircuitBreaker) (*breakerPolicy, error) {
	compiled, err := newTrip(c.Trip)
	if err != nil {
		return nil, err
	}
	s := breakerSettings{maxRequests: uint32(max(c.MaxRequests, 1)), interval: time.Duration(c.Interval), timeout: defaultOpen, trip: c.Trip}
	if c.Timeout != nil && *c.Timeout > 0 {
		s.timeout = time.Duration(*c.Timeout)
	}
	return &breakerPolicy{name, resource, s, compiled}, nil
}

// checkNames finds targets whose policies nobody defines.
func (t *table) checkNames(r *config.Resiliency) {
	check := func(names config.PolicyNames, path ...string) {
		_, timeout := t.timeouts[names.Timeout]
		_, retry := t.retries[names.Retry]
		_, breaker := t.breakers[names.CircuitBreaker]
		for _, each := range []struct {
			field, kind, name string
			defined           bool
		}{
			{"timeout", "timeouts", names.Timeout, timeout}, {"retry", "retries", names.Retry, retry || isBuiltIn(names.Retry)},
			{"circuitBreaker", "circuitBreakers", names.CircuitBreaker, breaker},
		} {
			if each.name != "" && !each.defined {
				err := fmt.Errorf("no policy %q is in spec.policies.%s: the target goes without one; define it or correct the name", each.name, each.kind)
				t.dangling = append(t.dangling, r.At(err, append(slices.Clip(path), each.field)...).Error())
			}
		}
	}
	targets := &r.Spec.Targets
	for _, name := range slices.Sorted(maps.Keys(targets.Apps)) {
		check(targets.Apps[name].Names(), "spec", "targets", "apps", name)
	}
	for _, name := range slices.Sorted(maps.Keys(targets.Actors)) {
		check(targets.Actors[name].Names(), "spec", "targets", "actors", name)
	}
	for _, name := range slices.Sorted(maps.Keys(targets.Components)) {
		for direction, names := range map[string]*config.PolicyNames{"inbound": targets.Components[name].Inbound, "outbound": targets.Components[name].Outbound} {
			if names != nil {
				check(*names, "spec", "targets", "components", name, direction)
			}
		}
	}
}

// target is nil where no policy holds.
func (t *table) target(k key) *target {
	if found, ok := t.targets.Get(k); ok {
		return found
	}
	t.change.Lock()
	defer t.change.Unlock()
	if found, ok := t.targets.Get(k); ok {
		return found
	}
	var fresh *target
	if s := t.spec(k); !s.empty() || s.explicit {
		fresh = newTarget(t.policies, k, s)
	}
	t.targets.Add(k, fresh)
	return fresh
}

// adopt takes over the targets of an earlier table that mean the same here, with the state of their breakers.
func (t *table) adopt(earlier *table) {
	if earlier == nil {
		return
	}
	for _, k := range earlier.targets.Keys() {
		if old, ok := earlier.targets.Peek(k); ok && old != nil && old.spec.like(t.spec(k)) {
			t.targets.Add(k, old)
		}
	}
}

// spec is what holds for a target: what the resources say of it by name, else the default policies.
func (t *table) spec(k key) spec {
	if k.block == actorBlock {
		return t.actorSpec(k)
	}
	cache := 1
	var names *config.PolicyNames
	if k.block == "" {
		cache = defaultCache
		if app, ok := t.apps[k.name]; ok {
			names = new(app.Names())
			if app.CircuitBreakerCacheSize > 0 {
				cache = app.CircuitBreakerCacheSize
			}
		}
	} else if component := t.components[k.name]; k.direction == Inbound {
		names = component.Inbound
	} else {
		names = component.Outbound
	}
	if names == nil {
		s := t.byDefault(k)
		s.cache = cache
		return s
	}
	return spec{timeout: t.timeouts[names.Timeout], retry: t.retry(names.Retry), breaker: t.breakers[names.CircuitBreaker],
		cache: cache, explicit: true}
}

// actorSpec is what holds for a type of actors: on the way to them all but the timeout, at their host the timeout.
func (t *table) actorSpec(k key) spec {
	s := t.byDefault(k)
	s.cache = defaultActorCache
	if actor, ok := t.actors[k.name]; ok {
		s = spec{timeout: t.timeouts[actor.Timeout], retry: t.retry(actor.Retry), breaker: t.breakers[actor.CircuitBreaker], cache: s.cache,
			explicit: true, scope: actor.CircuitBreakerScope}
		if actor.CircuitBreakerCacheSize > 0 {
			s.cache = actor.CircuitBreakerCacheSize
		}
	}
	if k.direction == Inbound {
		s.retry, s.breaker = nil, nil
	} else {
		s.timeout = nil
	}
	return s
}

// byDefault are the default policies for a target.
func (t *table) byDefault(k key) spec {
	levels := k.levels()
	return spec{timeout: mostSpecific(t.timeouts, levels, "TimeoutPolicy"), retry: mostSpecific(t.retries, levels, "RetryPolicy"),
		breaker: mostSpecific(t.breakers, levels, "CircuitBreakerPolicy")}
}

// retry finds a policy by its name, a built-in one too.
func (t *table) retry(name string) *retryPolicy {
	if found, ok := t.retries[name]; ok || !isBuiltIn(name) {
		return found
	}
	return &retryPolicy{name: name, Retry: builtIn(name)}
}

// levels are the parts between "Default" and "RetryPolicy" of the policies that may hold, the most specific first.
func (k key) levels() []string {
	switch k.block {
	case "":
		return []string{"App", ""}
	case actorBlock:
		return []string{"Actor", ""}
	}
	return []string{string(k.block) + "Component" + string(k.direction), "Component" + string(k.direction), "Component", ""}
}

func mostSpecific[P any](policies map[string]*P, levels []string, suffix string) *P {
	for _, level := range levels {
		if found, ok := policies["Default"+level+suffix]; ok {
			return found
		}
	}
	return nil
}
