package metrics

// InputBinding gives the handle for the events of an input binding.
func (r *Registry) InputBinding(component string) Outcome { return r.inputBinding.bind(component, "") }

// OutputBinding gives the handle for an operation of an output binding.
func (r *Registry) OutputBinding(component, operation string) Outcome {
	return r.outputBinding.bind(component, operation)
}
