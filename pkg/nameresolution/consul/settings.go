package consul

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// DefaultPortKey is the entry of a service's metadata that holds the internal gRPC port of the sidecar (Dapr's).
const DefaultPortKey = "DAPR_PORT"

// Settings are spec.nameResolution.configuration. Structured values come as JSON texts, whose names are those of Consul's
// API, in any case.
type Settings struct {
	// Client tells of the agent: address (127.0.0.1:8500), scheme, datacenter, token, tokenFile, httpAuth, namespace,
	// partition, waitTime (nanoseconds), tlsConfig. What it leaves out the environment may tell (CONSUL_HTTP_ADDR and so on).
	Client string `metadata:"client"`
	// QueryOptions are those of look-ups; useCache is true when they are not given.
	QueryOptions string `metadata:"queryOptions"`
	// DaprPortMetaKey is DefaultPortKey when empty.
	DaprPortMetaKey string `metadata:"daprPortMetaKey"`
	// SelfRegister has the sidecar enter itself, SelfDeregister take itself out at its end.
	SelfRegister   bool `metadata:"selfRegister"`
	SelfDeregister bool `metadata:"selfDeregister"`
	// Checks, Tags and Meta are those of the entry. Without Checks the sidecar's health is asked every 15 s.
	Checks string `metadata:"checks"`
	Tags   string `metadata:"tags"`
	Meta   string `metadata:"meta"`
	// AdvancedRegistration is a whole entry in place of SelfRegister, Checks, Tags and Meta; what it leaves out is filled in.
	AdvancedRegistration string `metadata:"advancedRegistration"`
	// UseCache is accepted: what was found is remembered for all resolvers alike.
	UseCache bool `metadata:"useCache"`
}

// client is api.Config as far as a file can say it.
type client struct {
	Address, Scheme, PathPrefix, Datacenter, Token, TokenFile, Namespace, Partition string
	WaitTime                                                                        time.Duration
	HTTPAuth                                                                        *api.HttpBasicAuth
	TLSConfig                                                                       api.TLSConfig
}

// apply lays what the file says over what the environment does.
func (c *client) apply(to *api.Config) {
	for _, field := range []struct {
		to   *string
		text string
	}{
		{&to.Address, c.Address}, {&to.Scheme, c.Scheme}, {&to.PathPrefix, c.PathPrefix}, {&to.Datacenter, c.Datacenter},
		{&to.Token, c.Token}, {&to.TokenFile, c.TokenFile}, {&to.Namespace, c.Namespace}, {&to.Partition, c.Partition},
	} {
		if field.text != "" {
			*field.to = field.text
		}
	}
	if c.HTTPAuth != nil {
		to.HttpAuth = c.HTTPAuth
	}
	if c.WaitTime != 0 {
		to.WaitTime = c.WaitTime
	}
	if c.TLSConfig.Address != "" || c.TLSConfig.CAFile != "" || c.TLSConfig.CAPath != "" || len(c.TLSConfig.CAPem) > 0 ||
		c.TLSConfig.CertFile != "" || len(c.TLSConfig.CertPEM) > 0 || c.TLSConfig.InsecureSkipVerify {
		to.TLSConfig = c.TLSConfig
	}
}

// read decodes one structured property; "" leaves into as it is. The text may hold a token: no error shows it.
func read(name, text string, into any) error {
	if text == "" {
		return nil
	}
	if err := json.NewDecoder(strings.NewReader(text)).Decode(into); err != nil {
		return fmt.Errorf("configuration.%s of the name resolution consul cannot be read as Consul's API has it: %T", name, err)
	}
	return nil
}
