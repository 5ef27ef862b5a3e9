package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Component is a technology that a building block works with: a state store, a broker, a binding, a secret store.
//
// +kubebuilder:resource:path=components
// +kubebuilder:printcolumn:name=Type,type=string,JSONPath=.spec.type
// +kubebuilder:printcolumn:name=Version,type=string,JSONPath=.spec.version
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=.metadata.creationTimestamp
type Component struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ComponentSpec `json:"spec"`
	Auth   Auth          `json:"auth,omitempty"`
	Scopes Scopes        `json:"scopes,omitempty"`
}

// Scopes are the ids of the applications that may use it; without any, all of the namespace may.
type Scopes []string

// Auth says where secretKeyRefs are read.
type Auth struct {
	// The name of a secret store component. Without one it is the store kubernetes, the Secrets of the namespace.
	SecretStore string `json:"secretStore,omitempty"`
}

// ComponentSpec is what the component is, and how it is set up.
type ComponentSpec struct {
	// The category, in lower case, and the name: state.redis for one.
	//
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]+[.].+')",message="want <category>.<name>, state.redis for one, with the category in lower case"
	Type string `json:"type"`
	// The version of the component, v1 for most.
	Version string `json:"version,omitempty"`
	// Start the application's sidecar even if the component cannot be made.
	IgnoreErrors bool `json:"ignoreErrors,omitempty"`
	// How long the initialisation may take, 5s without it.
	InitTimeout Duration `json:"initTimeout,omitempty"`
	// The settings of the component.
	Metadata []Property `json:"metadata,omitempty"`
}

// Duration is a length of time as Go writes it: 500ms, 5s, 1h30m.
//
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:XValidation:rule="self.matches('^(([0-9]+([.][0-9]*)?(ns|us|µs|ms|s|m|h))+|0)?$')",message="want a duration with its unit, like 500ms, 5s or 1h30m"
type Duration string

// Property is a setting. Its value is given, or in a secret, or in a variable of the sidecar's environment.
type Property struct {
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// The value: a text, a number, a boolean, an object.
	//
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Value        any           `json:"value,omitempty"`
	SecretKeyRef *SecretKeyRef `json:"secretKeyRef,omitempty"`
	// The name of an environment variable of the sidecar that holds the value (annotation dapr.io/env).
	EnvRef string `json:"envRef,omitempty"`
}

// SecretKeyRef names the secret that holds the value.
type SecretKeyRef struct {
	// The name of the secret.
	Name string `json:"name"`
	// The key in the secret; without it that of the secret's own name.
	Key string `json:"key,omitempty"`
}
