// Package consul finds sidecars by the catalogue of HashiCorp's Consul, and enters this one if it is told to. Sidecars of
// Dapr that use the same agents find these, and the other way round.
package consul

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/daprd/daprd/pkg/nameresolution"
)

const (
	// requestTimeout bounds a question to the agent on this machine.
	requestTimeout = 5 * time.Second
	// checkInterval is how often Consul asks for the health of a sidecar (Dapr's).
	checkInterval = "15s"
)

// Resolver is a nameresolution.Resolver, Announcer and Withdrawer.
type Resolver struct {
	agent    *api.Client
	idle     func() // lets go of its connections
	query    api.QueryOptions
	portKey  string
	settings Settings
	entry    *api.AgentServiceRegistration // what the settings say of it; nil for none

	mu         sync.Mutex
	registered string // the id under which this sidecar is entered
}

// New makes a resolver. It does not dial.
func New(s Settings) (*Resolver, error) {
	r := &Resolver{query: api.QueryOptions{UseCache: true}, portKey: s.DaprPortMetaKey, settings: s}
	if r.portKey == "" {
		r.portKey = DefaultPortKey
	}
	var at client
	if err := read("client", s.Client, &at); err != nil {
		return nil, err
	}
	if s.QueryOptions != "" {
		r.query = api.QueryOptions{}
	}
	if err := read("queryOptions", s.QueryOptions, &r.query); err != nil {
		return nil, err
	}
	if err := r.readEntry(); err != nil {
		return nil, err
	}
	config := api.DefaultConfig()
	at.apply(config)
	agent, err := api.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("client of the Consul agent: %w", err)
	}
	r.agent, r.idle = agent, config.Transport.CloseIdleConnections
	return r, nil
}

func (r *Resolver) readEntry() error {
	s := r.settings
	if s.AdvancedRegistration != "" {
		r.entry = &api.AgentServiceRegistration{}
		return read("advancedRegistration", s.AdvancedRegistration, r.entry)
	}
	if !s.SelfRegister {
		return nil
	}
	r.entry = &api.AgentServiceRegistration{}
	if err := read("checks", s.Checks, &r.entry.Checks); err != nil {
		return err
	}
	if err := read("tags", s.Tags, &r.entry.Tags); err != nil {
		return err
	}
	return read("meta", s.Meta, &r.entry.Meta)
}

// Resolve gives the addresses of all healthy sidecars of the application; the namespace plays no part, as in Dapr.
func (r *Resolver) Resolve(ctx context.Context, target nameresolution.Target) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	found, _, err := r.agent.Health().Service(target.AppID, "", true, r.query.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("ask Consul for the service %s: %w", target.AppID, err)
	}
	if len(found) == 0 {
		return nil, &nameresolution.NotFoundError{AppID: target.AppID, Text: "no healthy services found with AppID '" + target.AppID + "'"}
	}
	addresses := make([]string, 0, len(found))
	for _, instance := range found {
		host := instance.Service.Address
		if host == "" {
			host = instance.Node.Address
		}
		port := instance.Service.Meta[r.portKey]
		if _, err := strconv.ParseUint(port, 10, 16); err != nil || host == "" {
			continue // entered by something that is no sidecar
		}
		addresses = append(addresses, net.JoinHostPort(host, port))
	}
	if len(addresses) == 0 {
		return nil, fmt.Errorf("Consul has the service %s, but no port of a sidecar in its metadata: the entry %s is missing", target.AppID, r.portKey)
	}
	return addresses, nil
}

// Announce enters this sidecar, if the settings say so.
func (r *Resolver) Announce(ctx context.Context, a nameresolution.Announcement) error {
	if r.entry == nil {
		return nil
	}
	entry := *r.entry
	if entry.Name == "" {
		entry.Name = a.AppID
	}
	if entry.ID == "" {
		// Without an id Consul takes the name: two replicas at one agent would be one.
		entry.ID = fmt.Sprintf("%s-%s-%d", a.AppID, a.Host, a.Port)
	}
	if entry.Address == "" {
		entry.Address = a.Host
	}
	if entry.Port == 0 {
		entry.Port = a.AppPort
	}
	entry.Meta = map[string]string{}
	for key, value := range r.entry.Meta {
		entry.Meta[key] = value
	}
	if entry.Meta[r.portKey] == "" {
		entry.Meta[r.portKey] = strconv.Itoa(a.Port)
	}
	if entry.Check == nil && len(entry.Checks) == 0 {
		health := url.URL{Scheme: "http", Host: net.JoinHostPort(a.Host, strconv.Itoa(a.HTTPPort)), Path: "/v1.0/healthz"}
		entry.Checks = api.AgentServiceChecks{{Name: "Dapr Health Status", CheckID: "daprHealth:" + entry.ID, Interval: checkInterval, HTTP: health.String()}}
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := r.agent.Agent().ServiceRegisterOpts(&entry, api.ServiceRegisterOpts{}.WithContext(ctx)); err != nil {
		return fmt.Errorf("enter %s into Consul: %w", entry.ID, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.registered = entry.ID
	return nil
}

// Withdraw takes this sidecar out, if it is in and the settings say so; else Consul finds by its check that it is gone.
func (r *Resolver) Withdraw(ctx context.Context) error {
	r.mu.Lock()
	id := r.registered
	r.registered = ""
	r.mu.Unlock()
	if id == "" || !r.settings.SelfDeregister {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := r.agent.Agent().ServiceDeregisterOpts(id, (&api.QueryOptions{}).WithContext(ctx)); err != nil {
		return fmt.Errorf("take %s out of Consul: %w", id, err)
	}
	return nil
}

// Close lets go of the connections to the agent. It takes nothing out of Consul.
func (r *Resolver) Close() error {
	r.idle()
	return nil
}
