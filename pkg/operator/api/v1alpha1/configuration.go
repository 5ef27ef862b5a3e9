package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Configuration is what sidecars do beyond their components; an application names its own by the annotation
// dapr.io/config. The one called daprsystem is the control plane's.
//
// +kubebuilder:resource:path=configurations
type Configuration struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ConfigurationSpec `json:"spec,omitempty"`
}

// ConfigurationSpec are its parts.
type ConfigurationSpec struct {
	// Middleware of the HTTP API.
	HTTPPipeline *Pipeline `json:"httpPipeline,omitempty"`
	// Middleware of calls to HTTP applications.
	AppHTTPPipeline *Pipeline `json:"appHttpPipeline,omitempty"`
	Tracing         *Tracing  `json:"tracing,omitempty"`
	// For the control plane.
	MTLS *MTLS `json:"mtls,omitempty"`
	// An older name of metrics, which it is used without.
	Metric         *Metrics        `json:"metric,omitempty"`
	Metrics        *Metrics        `json:"metrics,omitempty"`
	Secrets        *Secrets        `json:"secrets,omitempty"`
	AccessControl  *AccessControl  `json:"accessControl,omitempty"`
	NameResolution *NameResolution `json:"nameResolution,omitempty"`
	// Preview features.
	Features   []Feature   `json:"features,omitempty"`
	API        *API        `json:"api,omitempty"`
	Components *Components `json:"components,omitempty"`
	Logging    *Logging    `json:"logging,omitempty"`
	WASM       *WASM       `json:"wasm,omitempty"`
	Workflow   *Workflow   `json:"workflow,omitempty"`
}

// Pipeline is middleware in the order of its execution.
type Pipeline struct {
	Handlers []Handler `json:"handlers,omitempty"`
}

// Handler is a middleware component.
type Handler struct {
	Name string `json:"name"`
	// middleware.http.uppercase for one.
	Type    string `json:"type"`
	Version string `json:"version,omitempty"`
	// Not in use.
	Selector *Selector `json:"selector,omitempty"`
}

// Selector is not in use.
type Selector struct {
	Fields []SelectorField `json:"fields,omitempty"`
}

// SelectorField is not in use.
type SelectorField struct {
	Field string `json:"field"`
	Value string `json:"value"`
}

// Tracing says which spans are made, and where they go.
type Tracing struct {
	// The part of calls that is traced, from "0" for none at all to "1", as a text.
	//
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]*[.]?[0-9]*(e-?[0-9]+)?)$')",message="want a number from 0 to 1, as a text: \"0.1\""
	SamplingRate string `json:"samplingRate,omitempty"`
	// Write spans to the log.
	Stdout bool    `json:"stdout,omitempty"`
	Zipkin *Zipkin `json:"zipkin,omitempty"`
	OTel   *OTel   `json:"otel,omitempty"`
}

// Zipkin takes spans.
type Zipkin struct {
	// A URL, http://zipkin.default.svc.cluster.local:9411/api/v2/spans for one.
	EndpointAddress string `json:"endpointAddress,omitempty"`
}

// OTel is a collector of OpenTelemetry, which takes spans.
type OTel struct {
	// +kubebuilder:validation:Enum=grpc;http;""
	Protocol string `json:"protocol,omitempty"`
	// host:port.
	EndpointAddress string `json:"endpointAddress,omitempty"`
	// Whether it speaks TLS; it does without this.
	IsSecure *bool `json:"isSecure,omitempty"`
	// Headers of every export; a secret's key has to be named.
	Headers []Property `json:"headers,omitempty"`
	// How long an export may take.
	Timeout Duration `json:"timeout,omitempty"`
}

// MTLS is how sidecars, and the parts of the control plane, know each other.
type MTLS struct {
	// Whether new sidecars speak mutual TLS; they do without this.
	Enabled *bool `json:"enabled,omitempty"`
	// How long certificates are valid, 24h without it.
	WorkloadCertTTL Duration `json:"workloadCertTTL,omitempty"`
	// By how much clocks may differ, 15m without it.
	AllowedClockSkew        Duration `json:"allowedClockSkew,omitempty"`
	SentryAddress           string   `json:"sentryAddress,omitempty"`
	ControlPlaneTrustDomain string   `json:"controlPlaneTrustDomain,omitempty"`
	// Further ways of proving to sentry who one is.
	TokenValidators []TokenValidator `json:"tokenValidators,omitempty"`
}

// TokenValidator is one of sentry's.
type TokenValidator struct {
	// +kubebuilder:validation:Enum=jwks
	Name string `json:"name"`
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Options any `json:"options,omitempty"`
}

// Metrics says what is counted.
type Metrics struct {
	// It is on without this.
	Enabled *bool `json:"enabled,omitempty"`
	// Count errors of the API by their codes.
	RecordErrorCodes *bool        `json:"recordErrorCodes,omitempty"`
	HTTP             *MetricsHTTP `json:"http,omitempty"`
	// Upper bounds in milliseconds.
	LatencyDistributionBuckets []int        `json:"latencyDistributionBuckets,omitempty"`
	Rules                      []MetricRule `json:"rules,omitempty"`
}

// MetricsHTTP bounds the labels of HTTP calls.
type MetricsHTTP struct {
	// Whether paths are labels that pathMatching does not name.
	IncreasedCardinality *bool `json:"increasedCardinality,omitempty"`
	// Paths with parameters in braces, /orders/{id} for one.
	PathMatching []string `json:"pathMatching,omitempty"`
	// Leave the verbs out.
	ExcludeVerbs *bool `json:"excludeVerbs,omitempty"`
}

// MetricRule rewrites labels of a metric.
type MetricRule struct {
	Name   string        `json:"name"`
	Labels []MetricLabel `json:"labels,omitempty"`
}

// MetricLabel rewrites one label.
type MetricLabel struct {
	Name string `json:"name"`
	// Patterns by what takes the place of what they match.
	Regex map[string]string `json:"regex,omitempty"`
}

// Secrets bounds what applications may read of secret stores.
type Secrets struct {
	Scopes []SecretScope `json:"scopes,omitempty"`
}

// SecretScope is the rule for one store.
type SecretScope struct {
	StoreName string `json:"storeName"`
	// Whether secrets may be read that neither list names; they may without this.
	DefaultAccess Action `json:"defaultAccess,omitempty"`
	// Only these may be read, if there are any.
	AllowedSecrets []string `json:"allowedSecrets,omitempty"`
	DeniedSecrets  []string `json:"deniedSecrets,omitempty"`
}

// Action is allow or deny.
//
// +kubebuilder:validation:MaxLength=16
// +kubebuilder:validation:Pattern=`^([aA][lL][lL][oO][wW]|[dD][eE][nN][yY])?$`
type Action string

// AccessControl says which applications may call those that this Configuration is for.
type AccessControl struct {
	// For callers without a policy.
	DefaultAction Action `json:"defaultAction,omitempty"`
	TrustDomain   string `json:"trustDomain,omitempty"`
	// By caller.
	//
	// +optional
	// +nullable
	Policies []AppPolicy `json:"policies,omitempty"`
}

// AppPolicy is the rule for a caller.
type AppPolicy struct {
	// The caller's app id.
	//
	// +kubebuilder:validation:MinLength=1
	AppName string `json:"appId"`
	// For operations that are not named.
	DefaultAction Action `json:"defaultAction,omitempty"`
	// The caller's trust domain, public for most.
	//
	// +kubebuilder:validation:MinLength=1
	TrustDomain string `json:"trustDomain"`
	// The caller's namespace.
	//
	// +kubebuilder:validation:MinLength=1
	Namespace  string         `json:"namespace"`
	Operations []AppOperation `json:"operations,omitempty"`
}

// AppOperation is the rule for a path.
type AppOperation struct {
	// The path, with * for a segment and ** for all that follow.
	Name string `json:"name"`
	// The verbs in upper case, "*" for all.
	HTTPVerb []string `json:"httpVerb,omitempty"`
	Action   Action   `json:"action"`
}

// NameResolution is how sidecars find others.
type NameResolution struct {
	// kubernetes without it.
	Component string `json:"component,omitempty"`
	Version   string `json:"version,omitempty"`
	// What the component takes.
	//
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Configuration any `json:"configuration,omitempty"`
}

// Feature is a preview feature.
type Feature struct {
	Name    string `json:"name"`
	Enabled bool   `json:"enabled"`
}

// API bounds which APIs exist: denied ones do not, and if any are allowed only those do.
type API struct {
	Allowed []APIRule `json:"allowed,omitempty"`
	Denied  []APIRule `json:"denied,omitempty"`
}

// APIRule is a group of an API.
type APIRule struct {
	// state, publish, invoke and so on.
	Name string `json:"name"`
	// v1.0 for one of HTTP, v1 for gRPC.
	Version string `json:"version"`
	// +kubebuilder:validation:Enum=http;grpc;""
	Protocol string `json:"protocol,omitempty"`
}

// Components refuses types of components.
type Components struct {
	// "type" or "type/version".
	Deny []string `json:"deny,omitempty"`
}

// Logging is about logs.
type Logging struct {
	APILogging *APILogging `json:"apiLogging,omitempty"`
}

// APILogging is about the log of the APIs' calls.
type APILogging struct {
	Enabled bool `json:"enabled,omitempty"`
	// Log names of calls in place of paths.
	ObfuscateURLs    bool `json:"obfuscateURLs,omitempty"`
	OmitHealthChecks bool `json:"omitHealthChecks,omitempty"`
}

// WASM bounds WebAssembly.
type WASM struct {
	StrictSandbox *bool `json:"strictSandbox,omitempty"`
}

// Workflow bounds workflows; 0 and less are no bound.
type Workflow struct {
	MaxConcurrentWorkflowInvocations       *int32             `json:"maxConcurrentWorkflowInvocations,omitempty"`
	MaxConcurrentActivityInvocations       *int32             `json:"maxConcurrentActivityInvocations,omitempty"`
	GlobalMaxConcurrentWorkflowInvocations *int32             `json:"globalMaxConcurrentWorkflowInvocations,omitempty"`
	GlobalMaxConcurrentActivityInvocations *int32             `json:"globalMaxConcurrentActivityInvocations,omitempty"`
	WorkflowConcurrencyLimits              []ConcurrencyLimit `json:"workflowConcurrencyLimits,omitempty"`
	ActivityConcurrencyLimits              []ConcurrencyLimit `json:"activityConcurrencyLimits,omitempty"`
	// How long the state of workflows is kept that have ended.
	StateRetentionPolicy *RetentionPolicy `json:"stateRetentionPolicy,omitempty"`
}

// ConcurrencyLimit bounds one workflow or activity.
type ConcurrencyLimit struct {
	Name          string `json:"name"`
	MaxConcurrent int32  `json:"maxConcurrent"`
}

// RetentionPolicy is by how workflows ended; anyTerminal holds where no other is given.
type RetentionPolicy struct {
	AnyTerminal Duration `json:"anyTerminal,omitempty"`
	Completed   Duration `json:"completed,omitempty"`
	Failed      Duration `json:"failed,omitempty"`
	Terminated  Duration `json:"terminated,omitempty"`
}
