package metrics

import "github.com/prometheus/client_golang/prometheus"

// accessFamilies count the decisions of the access control. Their app_id is the caller's.
type accessFamilies struct{ appAllowed, appBlocked, globalAllowed, globalBlocked *accessFamily }

type accessFamily = bounded[accessCaller, prometheus.Counter]

type accessCaller struct{ trustDomain, namespace, appID string }

func newAccessFamilies(r *Registry) *accessFamilies {
	family := func(name, help string) *accessFamily {
		vec := r.counter("dapr_runtime_acl_"+name+"_total", help, "trustDomain", "namespace")
		return newBounded(accessCaller{other, other, other}, func(c accessCaller) prometheus.Counter {
			return vec.WithLabelValues(text(c.appID), text(c.trustDomain), text(c.namespace))
		})
	}
	return &accessFamilies{
		appAllowed:    family("app_policy_action_allowed", "The number of calls that the policy for the calling app allowed."),
		appBlocked:    family("app_policy_action_blocked", "The number of calls that the policy for the calling app denied."),
		globalAllowed: family("global_policy_action_allowed", "The number of calls that the global policy allowed."),
		globalBlocked: family("global_policy_action_blocked", "The number of calls that the global policy denied."),
	}
}

// AccessDecided counts a decision on a call of another app, which is empty where it is not known. own says that the
// policy for it has a default action.
func (r *Registry) AccessDecided(trustDomain, namespace, appID string, own, allowed bool) {
	var family *accessFamily
	switch {
	case own && allowed:
		family = r.access.appAllowed
	case own:
		family = r.access.appBlocked
	case allowed:
		family = r.access.globalAllowed
	default:
		family = r.access.globalBlocked
	}
	family.handle(accessCaller{trustDomain, namespace, appID}).Inc()
}
