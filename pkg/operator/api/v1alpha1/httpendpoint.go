package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// HTTPEndpoint is an address outside the mesh that applications can invoke by its name.
//
// +kubebuilder:resource:path=httpendpoints
// +kubebuilder:printcolumn:name=URL,type=string,JSONPath=.spec.baseUrl
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=.metadata.creationTimestamp
type HTTPEndpoint struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   HTTPEndpointSpec `json:"spec"`
	Auth   Auth             `json:"auth,omitempty"`
	Scopes Scopes           `json:"scopes,omitempty"`
}

// HTTPEndpointSpec is where calls go, and what goes along.
type HTTPEndpointSpec struct {
	// The URL that the paths of calls are put behind.
	//
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^[hH][tT][tT][pP][sS]?://.+')",message="want a URL that begins with http:// or https://"
	BaseURL string `json:"baseUrl"`
	// Headers of every call.
	Headers []Property `json:"headers,omitempty"`
	// What is shown and trusted where the URL is one of https.
	ClientTLS *ClientTLS `json:"clientTLS,omitempty"`
}

// ClientTLS are texts in PEM form.
type ClientTLS struct {
	// The certificates that are trusted.
	RootCA *PEM `json:"rootCA,omitempty"`
	// The certificate that is shown.
	Certificate *PEM `json:"certificate,omitempty"`
	// The key of that certificate.
	PrivateKey *PEM `json:"privateKey,omitempty"`
	// Whether the other side may renegotiate.
	//
	// +kubebuilder:validation:Enum=Never;OnceAsClient;FreelyAsClient;""
	Renegotiation string `json:"renegotiation,omitempty"`
}

// PEM is a text, given or in a secret.
type PEM struct {
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Value        any           `json:"value,omitempty"`
	SecretKeyRef *SecretKeyRef `json:"secretKeyRef,omitempty"`
	// The name of an environment variable of the sidecar that holds the value.
	EnvRef string `json:"envRef,omitempty"`
}
