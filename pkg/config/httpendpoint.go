package config

// HTTPEndpoint is a resource of kind HTTPEndpoint: an address outside the mesh that calls can name.
type HTTPEndpoint struct {
	Meta Meta             `yaml:"metadata"`
	Spec HTTPEndpointSpec `yaml:"spec"`
	Auth Auth             `yaml:"auth"`
	// Scopes are the app ids that may use it; empty for all.
	Scopes []string `yaml:"scopes"`
	Origin Origin   `yaml:"-"`
}

// HTTPEndpointSpec is where calls go and what is sent along.
type HTTPEndpointSpec struct {
	// BaseURL is required; its path is put before that of each call.
	BaseURL   string     `yaml:"baseUrl"`
	Headers   []Property `yaml:"headers"`
	ClientTLS *ClientTLS `yaml:"clientTLS"`
}

// ClientTLS are PEM texts. The names of the properties are empty.
type ClientTLS struct {
	RootCA      Property `yaml:"rootCA"`
	Certificate Property `yaml:"certificate"`
	PrivateKey  Property `yaml:"privateKey"`
	// Renegotiation is Never (also when empty), OnceAsClient or FreelyAsClient.
	Renegotiation string `yaml:"renegotiation"`
}

// String is the name.
func (e *HTTPEndpoint) String() string { return e.Meta.Name }
