package config

import "slices"

// PipelineSpec lists middleware in the order of its execution.
type PipelineSpec struct {
	Handlers []Handler `yaml:"handlers"`
}

// Handler names a middleware component by type and name.
type Handler struct {
	Name    string `yaml:"name"`
	Type    string `yaml:"type"`
	Version string `yaml:"version"`
}

// MTLSSpec is for the control plane.
type MTLSSpec struct {
	Enabled bool `yaml:"enabled"`
	// WorkloadCertTTL and AllowedClockSkew are Go durations.
	WorkloadCertTTL         string `yaml:"workloadCertTTL"`
	AllowedClockSkew        string `yaml:"allowedClockSkew"`
	SentryAddress           string `yaml:"sentryAddress"`
	ControlPlaneTrustDomain string `yaml:"controlPlaneTrustDomain"`
	// TokenValidators are further ways of proving to sentry who one is.
	TokenValidators []TokenValidator `yaml:"tokenValidators"`
}

// TokenValidator names one of sentry's validators.
type TokenValidator struct {
	Name string `yaml:"name"`
	// Options is free-form; Properties makes texts of it.
	Options FreeForm `yaml:"options"`
}

// APISpec bounds which APIs exist: denied ones do not, and if any are allowed only those do.
type APISpec struct {
	Allowed []APIRule `yaml:"allowed"`
	Denied  []APIRule `yaml:"denied"`
}

// Idle are the rules that belong to neither protocol, and select nothing.
func (s *APISpec) Idle() []APIRule {
	return slices.DeleteFunc(slices.Concat(s.Allowed, s.Denied), func(r APIRule) bool { return r.Protocol == ProtocolHTTP || r.Protocol == ProtocolGRPC })
}

// The protocols of APIRule.
const (
	ProtocolHTTP = "http"
	ProtocolGRPC = "grpc"
)

// APIRule names a group of the API: name "state", version "v1.0" (HTTP) or "v1" (gRPC).
type APIRule struct {
	Name     string `yaml:"name"`
	Version  string `yaml:"version"`
	Protocol string `yaml:"protocol"`
}

// ComponentsSpec refuses component types.
type ComponentsSpec struct {
	// Deny lists "type" or "type/version".
	Deny []string `yaml:"deny"`
}

// Denied says whether a component type may not be loaded. Once the list is not empty, a component without
// a type or version is refused too.
func (c *ComponentsSpec) Denied(kind, version string) bool {
	if len(c.Deny) == 0 {
		return false
	}
	return kind == "" || version == "" || slices.Contains(c.Deny, kind) || slices.Contains(c.Deny, kind+"/"+version)
}

// LoggingSpec is about the log of API calls.
type LoggingSpec struct {
	APILogging APILogging `yaml:"apiLogging"`
}

// APILogging says what the log of API calls holds. The flag --enable-api-logging wins over Enabled.
type APILogging struct {
	Enabled bool `yaml:"enabled"`
	// ObfuscateURLs logs names of endpoints instead of their paths.
	ObfuscateURLs    bool `yaml:"obfuscateURLs"`
	OmitHealthChecks bool `yaml:"omitHealthChecks"`
}

// WASMSpec bounds WebAssembly middleware and bindings.
type WASMSpec struct {
	StrictSandbox bool `yaml:"strictSandbox"`
}

// WorkflowSpec bounds workflows; 0 and less mean no bound.
type WorkflowSpec struct {
	MaxConcurrentWorkflows        int                `yaml:"maxConcurrentWorkflowInvocations"`
	MaxConcurrentActivities       int                `yaml:"maxConcurrentActivityInvocations"`
	GlobalMaxConcurrentWorkflows  int                `yaml:"globalMaxConcurrentWorkflowInvocations"`
	GlobalMaxConcurrentActivities int                `yaml:"globalMaxConcurrentActivityInvocations"`
	WorkflowLimits                []ConcurrencyLimit `yaml:"workflowConcurrencyLimits"`
	ActivityLimits                []ConcurrencyLimit `yaml:"activityConcurrencyLimits"`
	Retention                     RetentionPolicy    `yaml:"stateRetentionPolicy"`
}

func (s *WorkflowSpec) isSet() bool {
	bound := max(s.MaxConcurrentWorkflows, s.MaxConcurrentActivities, s.GlobalMaxConcurrentWorkflows, s.GlobalMaxConcurrentActivities)
	return bound > 0 || len(s.WorkflowLimits) > 0 || len(s.ActivityLimits) > 0 || s.Retention != RetentionPolicy{}
}

// ConcurrencyLimit bounds one workflow or activity.
type ConcurrencyLimit struct {
	Name          string `yaml:"name"`
	MaxConcurrent int    `yaml:"maxConcurrent"`
}

// RetentionPolicy says how long the state of ended workflows is kept, in Go durations; AnyTerminal holds
// where no other is given.
type RetentionPolicy struct {
	AnyTerminal string `yaml:"anyTerminal"`
	Completed   string `yaml:"completed"`
	Failed      string `yaml:"failed"`
	Terminated  string `yaml:"terminated"`
}
