package metrics

// Configuration gives the handle for an operation of a configuration store.
func (r *Registry) Configuration(component, operation string) Outcome {
	return r.configuration.bind(component, operation)
}
