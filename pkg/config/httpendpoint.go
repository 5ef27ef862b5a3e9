package config

// HTTPEndpoint is a resource of kind HTTPEndpoint: an address outside the mesh that calls can name.
type HTTPEndpoint struct {
	Meta Meta             `yaml:"metadata"`
	Spec HTTPEndpointSpec `yaml:"spec"`
	Auth struct {
		SecretStore string `yaml:"secretStore"`
	} `yaml:"auth"`
	Scopes []string `yaml:"scopes"`
	Origin Origin   `yaml:"-"`
}

// HTTPEndpointSpec is where calls go and what is sent along.
type HTTPEndpointSpec struct {
	BaseURL   string     `yaml:"baseUrl"`
	Headers   []Property `yaml:"headers"`
	ClientTLS *ClientTLS `yaml:"clientTLS"`
}

// ClientTLS are PEM texts.
type ClientTLS struct {
	RootCA        Property `yaml:"rootCA"`
	Certificate   Property `yaml:"certificate"`
	PrivateKey    Property `yaml:"privateKey"`
	Renegotiation string   `yaml:"renegotiation"`
}
