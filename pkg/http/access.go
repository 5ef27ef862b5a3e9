package http

import (
	"slices"
	"strings"
)

// Rule is one entry of spec.api.allowed or spec.api.denied: the group and version of APIs ("state", "v1",
// "v1alpha1") or, as in Dapr 1.7, the beginning of a route ("state", "v1.0").
type Rule struct{ Name, Version string }

func (r Rule) key() string { return r.Version + "/" + r.Name }

// accessList decides which routes exist. Denials come first; without any allowance all else is allowed. The
// two health endpoints always exist.
type accessList struct{ allowed, denied []Rule }

func (a accessList) allows(row route, version string) bool {
	if row.health {
		return true
	}
	group := groupVersion(version) + "/" + row.group
	path := version + "/" + row.path
	if matches(a.denied, group, path) {
		return false
	}
	return len(a.allowed) == 0 || matches(a.allowed, group, path)
}

// idle are the rules that select no route.
func (a accessList) idle(table []route) (rules []Rule) {
	for _, rule := range slices.Concat(a.allowed, a.denied) {
		selects := func(row route) bool {
			return slices.ContainsFunc(row.versions, func(version string) bool {
				return matches([]Rule{rule}, groupVersion(version)+"/"+row.group, version+"/"+row.path)
			})
		}
		if !slices.ContainsFunc(table, selects) {
			rules = append(rules, rule)
		}
	}
	return rules
}

func matches(rules []Rule, group, path string) bool {
	for _, rule := range rules {
		if key := rule.key(); key == group || strings.HasPrefix(path, key) {
			return true
		}
	}
	return false
}

// groupVersion is the version of a group: "v1" for "v1.0", "v1alpha1" for "v1.0-alpha1".
func groupVersion(version string) string {
	return strings.NewReplacer(".0-", "", ".0", "").Replace(version)
}
