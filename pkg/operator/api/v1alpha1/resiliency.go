package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Resiliency are policies of calls, and what they hold for.
//
// +kubebuilder:resource:path=resiliencies
type Resiliency struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ResiliencySpec `json:"spec,omitempty"`
	Scopes Scopes         `json:"scopes,omitempty"`
}

// ResiliencySpec is policies and targets.
type ResiliencySpec struct {
	Policies ResiliencyPolicies `json:"policies,omitempty"`
	Targets  ResiliencyTargets  `json:"targets,omitempty"`
}

// ResiliencyPolicies are by the names that targets call them by.
type ResiliencyPolicies struct {
	// How long an attempt may take.
	//
	// +kubebuilder:validation:MaxProperties=1000
	Timeouts map[string]Span `json:"timeouts,omitempty"`
	// How often and when a call is made again.
	//
	// +kubebuilder:validation:MaxProperties=1000
	Retries map[string]Retry `json:"retries,omitempty"`
	// When calls are refused for a while since too many have failed.
	//
	// +kubebuilder:validation:MaxProperties=1000
	CircuitBreakers map[string]CircuitBreaker `json:"circuitBreakers,omitempty"`
}

// Span is a length of time as Go writes it, 500ms, 5s, 1h30m, or a whole number of milliseconds.
//
// +kubebuilder:validation:XIntOrString
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:Pattern=`^((([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+|[0-9]+))?$`
type Span string

// Retry says how often and when a call is made again.
type Retry struct {
	// The same pause each time, or one that grows; constant without it.
	//
	// +kubebuilder:validation:Enum=constant;exponential;""
	Policy string `json:"policy,omitempty"`
	// The pause of a constant policy, 5s without it.
	Duration Span `json:"duration,omitempty"`
	// The longest pause of an exponential policy, 60s without it.
	MaxInterval Span `json:"maxInterval,omitempty"`
	// How many calls follow the first; -1, or nothing, for no bound.
	//
	// +kubebuilder:validation:Minimum=-1
	MaxRetries *int `json:"maxRetries,omitempty"`
	// The statuses that are retried; all failures without it.
	Matching *Matching `json:"matching,omitempty"`
}

// Matching are lists of numbers and ranges, "429,500-599" for one.
type Matching struct {
	HTTPStatusCodes string `json:"httpStatusCodes,omitempty"`
	GRPCStatusCodes string `json:"gRPCStatusCodes,omitempty"`
}

// CircuitBreaker refuses calls for a while once too many have failed.
type CircuitBreaker struct {
	// How many calls are let through to try, when it is half open; 1 without it.
	//
	// +kubebuilder:validation:Minimum=0
	MaxRequests int `json:"maxRequests,omitempty"`
	// How often the counts begin anew while it is closed; never without it.
	Interval Span `json:"interval,omitempty"`
	// How long it stays open, 60s without it.
	Timeout Span `json:"timeout,omitempty"`
	// When it opens: a CEL expression over requests, totalSuccesses, totalFailures, consecutiveSuccesses and
	// consecutiveFailures; consecutiveFailures > 5 without it.
	Trip string `json:"trip,omitempty"`
}

// ResiliencyTargets are what policies hold for.
type ResiliencyTargets struct {
	// Calls of applications, by app id or the name of an HTTPEndpoint.
	Apps map[string]AppTarget `json:"apps,omitempty"`
	// Calls of actors, by type.
	//
	// +kubebuilder:validation:MaxProperties=1000
	Actors map[string]ActorTarget `json:"actors,omitempty"`
	// Calls of components, and what they bring, by name.
	Components map[string]ComponentTarget `json:"components,omitempty"`
}

// PolicyNames are the policies of a target.
type PolicyNames struct {
	Timeout        string `json:"timeout,omitempty"`
	Retry          string `json:"retry,omitempty"`
	CircuitBreaker string `json:"circuitBreaker,omitempty"`
}

// AppTarget is an application.
type AppTarget struct {
	PolicyNames `json:",inline"`
	// How many of its methods have a circuit breaker of their own, 100 without it.
	//
	// +kubebuilder:validation:Minimum=0
	CircuitBreakerCacheSize int `json:"circuitBreakerCacheSize,omitempty"`
}

// ActorTarget are the actors of a type.
//
// +kubebuilder:validation:XValidation:rule="!has(self.circuitBreaker) || size(self.circuitBreaker) == 0 || has(self.circuitBreakerScope)",message="actor circuit breakers must include scope: circuitBreakerScope is type, id or both"
type ActorTarget struct {
	PolicyNames `json:",inline"`
	// What has a circuit breaker of its own.
	//
	// +kubebuilder:validation:Enum=type;id;both
	CircuitBreakerScope string `json:"circuitBreakerScope,omitempty"`
	// How many actors have a circuit breaker of their own, 5000 without it.
	//
	// +kubebuilder:validation:Minimum=0
	CircuitBreakerCacheSize int `json:"circuitBreakerCacheSize,omitempty"`
}

// ComponentTarget is a component.
type ComponentTarget struct {
	// What it brings: messages and events.
	Inbound *PolicyNames `json:"inbound,omitempty"`
	// Calls of it.
	Outbound *PolicyNames `json:"outbound,omitempty"`
}
