package runtime

import (
	"strings"

	"github.com/daprd/daprd/pkg/metadata"
)

// The sources of the metadata API.

func (r *Runtime) enabledFeatures() []string { return r.configuration.EnabledFeatures() }

func (r *Runtime) loadedComponents() []metadata.Component {
	capabilities := map[string][]string{}
	for _, store := range r.state.Stores() {
		for _, feature := range store.Features {
			capabilities["state/"+store.Name] = append(capabilities["state/"+store.Name], string(feature))
		}
	}
	loaded := r.loader.Loaded()
	list := make([]metadata.Component, len(loaded))
	for i := range loaded {
		c := &loaded[i]
		list[i] = metadata.Component{Name: c.Meta.Name, Type: c.Spec.Type, Version: c.Spec.Version,
			Capabilities: capabilities[c.Category()+"/"+c.Meta.Name]}
		if strings.HasPrefix(c.Spec.Type, "secretstores.") {
			list[i].Capabilities = r.secrets.Features(c.Meta.Name)
		}
	}
	return list
}

func (r *Runtime) endpointNames() []string {
	names, _ := r.httpEndpoints.Load()
	return names
}

func (r *Runtime) appConnection() metadata.AppConnection {
	return metadata.AppConnection{Port: r.cfg.AppPort, Protocol: string(r.cfg.AppProtocol), ChannelAddress: r.cfg.AppChannelAddress,
		MaxConcurrency: max(r.cfg.AppMaxConcurrency, 0)}
}
