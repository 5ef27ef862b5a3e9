package bindings

import (
	"context"
	"errors"
	"fmt"

	"github.com/daprd/daprd/pkg/apierr"
)

var errNoOperation = errors.New("operation field is missing from request")

// Invoke makes one request to the output binding name. A nil Response without an error means that the other system
// has nothing to say; with an error there may be a Response too, whose metadata tell more. Errors are *apierr.Error.
// The request belongs to the caller again when Invoke returns.
func (s *Service) Invoke(ctx context.Context, name string, req *Request) (*Response, error) {
	response, err := s.invoke(ctx, name, req)
	if err != nil {
		return response, apierr.InvokeOutputBinding.New(name, err)
	}
	return response, nil
}

// invoke checks in the order of Dapr 1.18: the name, the operation's presence, the operation.
func (s *Service) invoke(ctx context.Context, name string, req *Request) (*Response, error) {
	held, ok := s.components.Take(name)
	if !ok {
		return nil, fmt.Errorf("couldn't find output binding %s", name)
	}
	defer held.Leave()
	c := held.Value
	switch {
	case c.bare.Output == nil:
		return nil, fmt.Errorf("couldn't find output binding %s", name)
	case req.Operation == "":
		return nil, errNoOperation
	}
	run, ok := c.operations[req.Operation]
	if !ok {
		return nil, fmt.Errorf("binding %s does not support operation %s. supported operations:%s", name, req.Operation, c.listed)
	}
	return run(ctx, req)
}
