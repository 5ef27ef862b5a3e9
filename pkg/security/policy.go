package security

import (
	"fmt"
	"slices"
	"strings"

	"github.com/daprd/daprd/pkg/config"
)

const (
	// NoVerb is the verb of a call that has none.
	NoVerb = "NONE"
	// anyVerb is what operations say for all verbs.
	anyVerb = "*"
)

// Policy is the access control of a Configuration, made ready to decide. It does not change. The zero Policy denies
// everything.
type Policy struct {
	// off is a Policy that nobody asked for: it allows everything.
	off bool
	// allow is the default action for callers without a policy of their own.
	allow bool
	// http says that the application speaks HTTP: verbs count, and paths are the same in upper and lower case.
	http bool
	apps map[appKey]*appPolicy
}

type appKey struct{ appID, namespace string }

// appPolicy is what holds for one calling application.
type appPolicy struct {
	trustDomain string
	// own says that it has a default action, and allow is that, else the global one.
	own, allow bool
	operations node
}

// NewPolicy makes a Policy of a spec that is valid. http says that the application speaks HTTP. The doubts are what the
// spec says without effect, or with another than its author may think.
func NewPolicy(spec *config.AccessControlSpec, http bool) (policy *Policy, doubts []string) {
	p := &Policy{off: !spec.Enabled(), allow: spec.DefaultAllows(), http: http, apps: make(map[appKey]*appPolicy, len(spec.Policies))}
	var d doubter
	if !p.off && spec.DefaultAction == "" && !p.allow {
		d.doubt("No global default action has been specified. Setting default global action as Deny")
	}
	d.action("spec.accessControl.defaultAction", spec.DefaultAction)
	for i := range spec.Policies {
		s := &spec.Policies[i]
		at := fmt.Sprintf("spec.accessControl.policies[%d] (appId %s, namespace %s)", i, s.AppID, s.Namespace)
		key := appKey{s.AppID, s.Namespace}
		if p.apps[key] != nil {
			d.doubt("%s replaces the policy of the same app and namespace before it", at)
		}
		p.apps[key] = p.app(s, at, &d)
	}
	return p, d.doubts
}

func (p *Policy) app(s *config.AppPolicy, at string, d *doubter) *appPolicy {
	d.action(at+".defaultAction", s.DefaultAction)
	app := &appPolicy{trustDomain: s.TrustDomain, own: s.DefaultAction != "", allow: p.allow}
	if app.own {
		app.allow = config.Allows(s.DefaultAction)
	}
	for i := range s.Operations {
		o := &s.Operations[i]
		at := fmt.Sprintf("%s.operations[%d] (name %s)", at, i, o.Name)
		d.operation(at, o, p.http)
		if !app.operations.add(newOperation(o), p.http) {
			d.doubt("%s has no effect: the first operation of this name holds", at)
		}
	}
	app.operations.unreachable(nil, func(above, below *operation) {
		d.doubt("%s: operation %s is never reached: %s is about everything below it, too", at, below.name, above.name)
	})
	return app
}

func newOperation(o *config.AppOperation) *operation {
	return &operation{name: o.Name, allow: config.Allows(o.Action), verbs: o.HTTPVerbs, anyVerb: slices.Contains(o.HTTPVerbs, anyVerb)}
}

// doubter collects what is to be doubted.
type doubter struct{ doubts []string }

func (d *doubter) doubt(format string, args ...any) {
	d.doubts = append(d.doubts, fmt.Sprintf(format, args...))
}

// action doubts one that is neither word: it denies.
func (d *doubter) action(field, action string) {
	if action != "" && !config.Allows(action) && !strings.EqualFold(action, "deny") {
		d.doubt("%s %q is neither allow nor deny: it denies", field, action)
	}
}

func (d *doubter) operation(at string, o *config.AppOperation, http bool) {
	d.action(at+".action", o.Action)
	if strings.ContainsAny(o.Name, "%?#") {
		d.doubt("%s: names are compared with decoded paths, without their query: this one stands for itself only", at)
	}
	if !http {
		return
	}
	if len(o.HTTPVerbs) == 0 {
		d.doubt("%s has no httpVerb: it changes nothing", at)
	}
	for _, verb := range o.HTTPVerbs {
		if verb != anyVerb && !slices.Contains(verbs(), verb) {
			d.doubt("%s: httpVerb %q is none: they are %s, or * for any", at, verb, strings.Join(verbs(), ", "))
		}
	}
}

func verbs() []string {
	return []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
}

// decide says whether a call may pass, and whether the caller has a default action of its own. Method is a canonical
// path; verb is that of the call, NoVerb for none, "" for a proxied gRPC call. It allocates nothing for paths below 256
// bytes.
func (p *Policy) decide(caller Caller, method, verb string) (allowed, own bool) {
	app := p.apps[appKey{caller.AppID, caller.Namespace}]
	if app == nil || app.trustDomain != caller.TrustDomain {
		return p.allow || p.off, false
	}
	var memory [256]byte
	found := app.operations.find(appendPath(memory[:0], method, p.http))
	switch {
	case found == nil:
		return app.allow, app.own
	case !p.http || verb == "":
		return found.allow, app.own
	case verb == NoVerb:
		return app.own && app.allow, app.own
	case found.anyVerb || slices.Contains(found.verbs, verb):
		return found.allow, app.own
	}
	return app.allow, app.own
}
