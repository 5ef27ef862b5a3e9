package runtime

import "github.com/daprd/daprd/pkg/metadata"

// The sources of the metadata API.

func (r *Runtime) enabledFeatures() []string { return r.configuration.EnabledFeatures() }

func (r *Runtime) loadedComponents() []metadata.Component {
	loaded := r.loader.Loaded()
	list := make([]metadata.Component, len(loaded))
	for i := range loaded {
		c := &loaded[i]
		list[i] = metadata.Component{Name: c.Meta.Name, Type: c.Spec.Type, Version: c.Spec.Version, Capabilities: c.Capabilities}
	}
	return list
}

// absent names the components that cannot be used now.
func (r *Runtime) absent() (names []string) {
	for _, o := range r.loader.Outages() {
		names = append(names, o.Component)
	}
	return names
}

// outages are the attributes component.<name> and subscription.<pubsub>.<topic> of the metadata API, which has no field
// for them.
func (r *Runtime) outages() map[string]string {
	attributes := map[string]string{}
	for _, o := range r.loader.Outages() {
		attributes["component."+o.Component] = o.String()
	}
	for _, s := range r.pubsub.Disturbed() {
		attributes["subscription."+s.PubSub+"."+s.Topic] = s.State
	}
	return attributes
}

func (r *Runtime) endpointNames() []string {
	names, _ := r.httpEndpoints.Load()
	return names
}

func (r *Runtime) appConnection() metadata.AppConnection {
	connection := metadata.AppConnection{Port: r.cfg.AppPort, Protocol: string(r.cfg.AppProtocol), ChannelAddress: r.cfg.AppChannelAddress,
		MaxConcurrency: max(r.cfg.AppMaxConcurrency, 0)}
	if h := r.cfg.AppHealth; h != nil {
		connection.Health = &metadata.AppHealth{Path: h.Path, Interval: h.Interval, Timeout: h.Timeout, Threshold: h.Threshold}
	}
	return connection
}
