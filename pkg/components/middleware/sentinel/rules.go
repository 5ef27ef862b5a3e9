package sentinel

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/alibaba/sentinel-golang/core/circuitbreaker"
	"github.com/alibaba/sentinel-golang/core/flow"
	"github.com/alibaba/sentinel-golang/core/hotspot"
	"github.com/alibaba/sentinel-golang/core/isolation"
	"github.com/alibaba/sentinel-golang/core/system"
	"github.com/google/uuid"
)

// rules are those of one component. Sentinel has one set for the whole process, by resource: the resources of a
// component get a prefix that no other one has, so that one that is replaced takes nothing from its successor.
type rules struct {
	prefix    string
	resources map[string]*resource // by the name in the manifest

	system []*system.Rule
}

// resource is what rules are about: METHOD:path.
type resource struct {
	name       string // with the prefix
	flow       []*flow.Rule
	breakers   []*circuitbreaker.Rule
	hotspots   []*hotspot.Rule
	isolations []*isolation.Rule
	// headers are those whose values hot spots count.
	headers []string
}

func parse(s *settings) (*rules, error) {
	r := &rules{prefix: uuid.NewString() + "|", resources: map[string]*resource{}}
	return r, errors.Join(
		each("flowRules", s.Flow, flow.IsValidRule, func(rule *flow.Rule) {
			to := r.named(rule.Resource)
			rule.Resource = to.name
			if rule.RefResource != "" {
				rule.RefResource = r.prefix + rule.RefResource
			}
			to.flow = append(to.flow, rule)
		}),
		each("circuitBreakerRules", s.CircuitBreaker, circuitbreaker.IsValidRule, func(rule *circuitbreaker.Rule) {
			to := r.named(rule.Resource)
			rule.Resource = to.name
			to.breakers = append(to.breakers, rule)
		}),
		each("hotSpotParamRules", s.HotSpot, (*hotspotRule).check, func(written *hotspotRule) {
			rule := &written.Rule
			to := r.named(rule.Resource)
			rule.Resource = to.name
			if rule.ParamKey != "" {
				to.headers = append(to.headers, rule.ParamKey)
			}
			to.hotspots = append(to.hotspots, rule)
		}),
		each("isolationRules", s.Isolation, isolation.IsValidRule, func(rule *isolation.Rule) {
			to := r.named(rule.Resource)
			rule.Resource = to.name
			to.isolations = append(to.isolations, rule)
		}),
		each("systemRules", s.System, system.IsValidSystemRule, func(rule *system.Rule) {
			rule.ID = r.prefix + rule.ID
			r.system = append(r.system, rule)
		}),
	)
}

// each reads a JSON array of rules.
func each[R any](property, text string, check func(*R) error, take func(*R)) error {
	if text == "" {
		return nil
	}
	var all []*R
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return fmt.Errorf("metadata property %s is not usable: want a JSON array of Sentinel's rules: %w", property, err)
	}
	for i, rule := range all {
		if rule == nil {
			return fmt.Errorf("metadata property %s: rule %d is null", property, i+1)
		}
		if err := check(rule); err != nil {
			return fmt.Errorf("metadata property %s: rule %d: %w", property, i+1, err)
		}
		take(rule)
	}
	return nil
}

// hotspotRule is a rule for hot spots in a form that JSON can fill.
type hotspotRule struct {
	hotspot.Rule
	// SpecificItems are thresholds of single values.
	SpecificItems map[string]int64 `json:"specificItems"`
}

func (h *hotspotRule) check() error {
	for value, threshold := range h.SpecificItems {
		if h.Rule.SpecificItems == nil {
			h.Rule.SpecificItems = map[any]int64{}
		}
		h.Rule.SpecificItems[value] = threshold
	}
	return hotspot.IsValidRule(&h.Rule)
}

func (r *rules) named(name string) *resource {
	if r.resources[name] == nil {
		r.resources[name] = &resource{name: r.prefix + name}
	}
	return r.resources[name]
}

// resource is what Sentinel is asked about for a request. Those without rules of their own share one, so that callers
// cannot fill the memory with names; ok is false where no rule concerns them.
func (r *rules) resource(name string) (*resource, bool) {
	if found, ok := r.resources[name]; ok {
		return found, true
	}
	return &resource{name: r.prefix + "*"}, len(r.system) > 0
}

func (r *resource) attachments(request *http.Request) map[any]any {
	if len(r.headers) == 0 {
		return nil
	}
	values := make(map[any]any, len(r.headers))
	for _, name := range r.headers {
		values[name] = request.Header.Get(name)
	}
	return values
}

// load gives the rules to Sentinel.
func (r *rules) load() error {
	var errs []error
	for _, to := range r.resources {
		errs = append(errs,
			second(flow.LoadRulesOfResource(to.name, to.flow)),
			second(circuitbreaker.LoadRulesOfResource(to.name, to.breakers)),
			second(hotspot.LoadRulesOfResource(to.name, to.hotspots)),
			second(isolation.LoadRulesOfResource(to.name, to.isolations)))
	}
	return errors.Join(append(errs, r.replaceSystem(r.system))...)
}

func second(_ bool, err error) error { return err }

// unload takes the rules away from Sentinel.
func (r *rules) unload() error {
	var errs []error
	for _, to := range r.resources {
		errs = append(errs, flow.ClearRulesOfResource(to.name), circuitbreaker.ClearRulesOfResource(to.name),
			hotspot.ClearRulesOfResource(to.name), isolation.ClearRulesOfResource(to.name))
	}
	return errors.Join(append(errs, r.replaceSystem(nil))...)
}

// replaceSystem puts rules in the place of this component's among those of the process.
func (r *rules) replaceSystem(own []*system.Rule) error {
	if len(r.system) == 0 {
		return nil
	}
	all := slices.Clone(own)
	for _, rule := range system.GetRules() {
		if !strings.HasPrefix(rule.ID, r.prefix) {
			all = append(all, &rule)
		}
	}
	return second(system.LoadRules(all))
}
