package config

import (
	"fmt"
	"slices"
	"strings"
)

// AccessControlSpec says which apps may call this one. Texts of actions count in any case; what is not allow
// denies.
type AccessControlSpec struct {
	DefaultAction string      `yaml:"defaultAction"`
	TrustDomain   string      `yaml:"trustDomain"`
	Policies      []AppPolicy `yaml:"policies"`
}

// AppPolicy is the rule for one calling app.
type AppPolicy struct {
	AppID         string         `yaml:"appId"`
	DefaultAction string         `yaml:"defaultAction"`
	TrustDomain   string         `yaml:"trustDomain"`
	Namespace     string         `yaml:"namespace"`
	Operations    []AppOperation `yaml:"operations"`
}

// AppOperation is the rule for a path and its verbs, "*" for any.
type AppOperation struct {
	Name      string   `yaml:"name"`
	HTTPVerbs []string `yaml:"httpVerb"`
	Action    string   `yaml:"action"`
}

// defaultAccessControl is Dapr's in standalone mode.
func defaultAccessControl() AccessControlSpec {
	return AccessControlSpec{DefaultAction: "allow", TrustDomain: "public"}
}

// isDefault says whether everything is allowed.
func (s *AccessControlSpec) isDefault() bool {
	if len(s.Policies) > 0 {
		return false
	}
	return allows(s.DefaultAction) || s.DefaultAction == "" && (s.TrustDomain == "" || s.Policies != nil)
}

// denial is the first rule that would deny a call, "" if there is none. What is not allow denies; in a policy an
// empty default leaves the decision to the global one.
func (s *AccessControlSpec) denial() string {
	if len(s.Policies) == 0 && !s.isDefault() || len(s.Policies) > 0 && !allows(s.DefaultAction) {
		return fmt.Sprintf("defaultAction %q", s.DefaultAction)
	}
	for _, p := range s.Policies {
		if p.DefaultAction != "" && !allows(p.DefaultAction) {
			return fmt.Sprintf("defaultAction %q of the policy for app %s", p.DefaultAction, p.AppID)
		}
		for _, o := range p.Operations {
			if !allows(o.Action) {
				return fmt.Sprintf("action %q of operation %s in the policy for app %s", o.Action, o.Name, p.AppID)
			}
		}
	}
	return ""
}

func allows(action string) bool { return strings.EqualFold(action, "allow") }

// validate wants the three names of each policy; the error lists all that lack one.
func (s *AccessControlSpec) validate() error {
	var noTrustDomain, noNamespace []string
	noName := false
	for _, p := range s.Policies {
		if p.TrustDomain == "" {
			noTrustDomain = append(noTrustDomain, p.AppID)
		}
		if p.Namespace == "" {
			noNamespace = append(noNamespace, p.AppID)
		}
		noName = noName || p.AppID == ""
	}
	if !noName && len(slices.Concat(noTrustDomain, noNamespace)) == 0 {
		return nil
	}
	return fmt.Errorf("invalid access control spec. missing trustdomain for apps: %v, missing namespace for apps: %v, missing app name on at least one of the app policies: %v",
		noTrustDomain, noNamespace, noName)
}
