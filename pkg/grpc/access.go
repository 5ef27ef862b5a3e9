package grpc

import "strings"

// Rule is one entry of spec.api.allowed or spec.api.denied: a group of methods ("state", "v1").
type Rule struct{ Name, Version string }

func (r Rule) key() string { return r.Name + "." + r.Version }

// guarded is where the rules hold: not for proxied services, nor for reflection.
const guarded = "/dapr.proto.runtime."

// accessList decides which methods exist, by their full names. Denials come first; without any allowance
// all else is allowed. A nil accessList allows everything.
type accessList struct {
	bounded         bool
	allowed, denied map[string]bool
}

// newAccessList gives the rules that select nothing, too. A list of allowances that all select nothing
// allows nothing: opening the API because of a typing error would be worse.
func newAccessList(table []group, allowed, denied []Rule) (list *accessList, unknown []string) {
	if len(allowed) == 0 && len(denied) == 0 {
		return nil, nil
	}
	list = &accessList{bounded: len(allowed) > 0}
	list.allowed, unknown = selected(table, allowed, unknown)
	list.denied, unknown = selected(table, denied, unknown)
	return list, unknown
}

func selected(table []group, rules []Rule, unknown []string) (map[string]bool, []string) {
	methods := make(map[string]bool)
	for _, rule := range rules {
		found := false
		for _, g := range table {
			if g.key != rule.key() {
				continue
			}
			found = true
			for _, method := range g.methods {
				methods[fullName(method)] = true
			}
		}
		if !found {
			unknown = append(unknown, rule.key())
		}
	}
	return methods, unknown
}

func (l *accessList) allows(method string) bool {
	if l == nil || !strings.HasPrefix(method, guarded) {
		return true
	}
	return !l.denied[method] && (!l.bounded || l.allowed[method])
}
