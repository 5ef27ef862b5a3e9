package state

import (
	"context"
	"strconv"

	"github.com/daprd/daprd/pkg/apierr"
)

// RawOperation is one step of a transaction as a caller names it.
type RawOperation struct {
	// Type is "upsert" or "delete"; anything else is refused.
	Type string
	// Set is the request. A delete uses its key, entity tag, options and metadata.
	Set SetRequest
}

// Transact applies operations together, as far as the store can (Redis does not roll back). No operations
// are no error. A value that its content type belies is refused, as in Set. Unlike Set it takes an empty key: Dapr writes the bare prefix, and such data exists. Every
// failure of the store is the same row, a refused entity tag included, as in Dapr.
func (s *Service) Transact(ctx context.Context, store string, ops []RawOperation, metadata map[string]string) error {
	held, err := s.take(store)
	if err != nil {
		return err
	}
	defer held.Leave()
	c := held.Value
	if c.transact == nil {
		return apierr.StateTransactionsNotSupported.New(store).WithResource("state", store, "").
			WithHelp("https://docs.dapr.io/reference/components-reference/supported-state-stores/",
				"Check the list of state stores and the features they support")
	}
	if err := CheckItems(len(ops)); err != nil {
		return err
	}
	stored, err := c.complete(ops)
	if err != nil || len(stored) == 0 {
		return err
	}
	if c.maxOperations > 0 && len(ops) > c.maxOperations {
		return apierr.StateTooManyOperations.New(len(ops), c.maxOperations).WithResource("state", store, "").
			WithMetadata("currentOpsTransaction", strconv.Itoa(len(ops)),
				"maxOpsPerTransaction", strconv.Itoa(c.maxOperations))
	}
	if err := c.transact(ctx, stored, metadata); err != nil {
		return failed(apierr.StateTransaction, err, err)
	}
	return nil
}

// complete gives the operations their full keys.
func (c *component) complete(ops []RawOperation) ([]Operation, error) {
	stored := make([]Operation, len(ops))
	for i, op := range ops {
		if err := checkKey(c.name, op.Set.Key); err != nil {
			return nil, err
		}
		set := op.Set
		set.Key = c.prefix + set.Key
		switch op.Type {
		case "upsert":
			if err := checkContent(&set); err != nil {
				return nil, err
			}
			stored[i].Set = &set
		case "delete":
			stored[i].Delete = &DeleteRequest{Key: set.Key, ETag: set.ETag, Concurrency: set.Concurrency,
				Consistency: set.Consistency, Metadata: set.Metadata}
		default:
			return nil, apierr.StateOperationNotSupported.New(op.Type)
		}
	}
	return stored, nil
}
