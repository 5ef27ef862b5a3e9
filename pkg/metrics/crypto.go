package metrics

// Crypto gives the handle for an operation of a provider of keys.
func (r *Registry) Crypto(component, operation string) Outcome {
	return r.crypto.bind(component, operation)
}
