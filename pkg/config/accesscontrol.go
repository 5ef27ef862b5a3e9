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

// Enabled says whether there is access control at all: without any of its three fields there is none.
func (s *AccessControlSpec) Enabled() bool {
	return s.DefaultAction != "" || s.TrustDomain != "" || len(s.Policies) > 0
}

// DefaultAllows says whether callers without a policy may call: what is not allow denies, but for no action at all
// beside an empty list of policies.
func (s *AccessControlSpec) DefaultAllows() bool {
	if s.DefaultAction == "" {
		return s.Policies != nil && len(s.Policies) == 0
	}
	return Allows(s.DefaultAction)
}

// Allows says whether an action lets calls pass.
func Allows(action string) bool { return strings.EqualFold(action, "allow") }

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
