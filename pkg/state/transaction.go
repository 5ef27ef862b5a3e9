package state

import (
	"context"
	"strconv"

	"github.com/daprd/daprd/pkg/apierr"
)

// Transaction is what a caller wants done together.
type Transaction struct {
	Operations []RawOperation
	Metadata   map[string]string
	// TraceParent and TraceState are the caller's, "" for none.
	TraceParent, TraceState string
}

// RawOperation is one step of a transaction as a caller names it.
type RawOperation struct {
	// Type is "upsert" or "delete"; anything else is refused.
	Type string
	// Set is the request. A delete uses its key, entity tag, options and metadata.
	Set SetRequest
}

// The types of operations.
const (
	TypeUpsert = "upsert"
	TypeDelete = "delete"
)

// Transact applies operations together, as far as the store can (Redis does not roll back). No operations
// are no error. A value that its content type belies is refused, as in Set. Unlike Set it takes an empty key: Dapr writes the bare prefix, and such data exists. Every
// failure of the store is the same row, a refused entity tag included, as in Dapr.
func (s *Service) Transact(ctx context.Context, store string, t Transaction) error {
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
	if err := CheckItems(len(t.Operations)); err != nil {
		return err
	}
	if c.settings.Outbox != nil && s.deps.Outbox != nil {
		return s.transactPublished(ctx, c, &t)
	}
	stored, err := c.complete(t.Operations)
	if err != nil || len(stored) == 0 {
		return err
	}
	return c.run(ctx, stored, t.Metadata)
}

// run gives operations to the store.
func (c *component) run(ctx context.Context, stored []Operation, metadata map[string]string) error {
	if err := c.fits(len(stored)); err != nil {
		return err
	}
	if err := c.transact(ctx, stored, metadata); err != nil {
		return failed(apierr.StateTransaction, err, err)
	}
	return nil
}

// fits refuses more operations than the store takes at once.
func (c *component) fits(operations int) error {
	if c.maxOperations <= 0 || operations <= c.maxOperations {
		return nil
	}
	return apierr.StateTooManyOperations.New(operations, c.maxOperations).WithResource("state", c.name, "").
		WithMetadata("currentOpsTransaction", strconv.Itoa(operations), "maxOpsPerTransaction", strconv.Itoa(c.maxOperations))
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
		case TypeUpsert:
			if err := checkContent(&set); err != nil {
				return nil, err
			}
			stored[i].Set = &set
		case TypeDelete:
			stored[i].Delete = &DeleteRequest{Key: set.Key, ETag: set.ETag, Concurrency: set.Concurrency,
				Consistency: set.Consistency, Metadata: set.Metadata}
		default:
			return nil, apierr.StateOperationNotSupported.New(op.Type)
		}
	}
	return stored, nil
}
