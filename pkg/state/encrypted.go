package state

import (
	"context"
	"errors"
)

// errEncryptedQuery is Dapr's text: such a store sees ciphertext only, so that nothing would match.
var errEncryptedQuery = errors.New("cannot query encrypted store")

// encrypted puts encryption around operations: the store never sees a plain value.
func (o operations) encrypted(keys *keyring) operations {
	plain := o
	o.get = func(ctx context.Context, req *GetRequest) (*Item, error) {
		inner := *req
		inner.Metadata = sealedMetadata(req.Metadata)
		item, err := plain.get(ctx, &inner)
		if err != nil {
			return nil, err
		}
		opened := *item
		opened.Value, err = keys.open(item.Value)
		return &opened, err
	}
	o.getMany = func(ctx context.Context, reqs []GetRequest, parallelism int) ([]Item, error) {
		inner := make([]GetRequest, len(reqs))
		for i, req := range reqs {
			inner[i] = req
			inner[i].Metadata = sealedMetadata(req.Metadata)
		}
		items, err := plain.getMany(ctx, inner, parallelism)
		return keys.openAll(items), err
	}
	o.set = func(ctx context.Context, req *SetRequest) error {
		sealed, err := keys.sealRequest(req)
		if err != nil {
			return err
		}
		return plain.set(ctx, &sealed)
	}
	o.setMany = func(ctx context.Context, reqs []SetRequest) error {
		sealed, err := keys.sealRequests(reqs)
		if err != nil {
			return err
		}
		return plain.setMany(ctx, sealed)
	}
	o.remove = func(ctx context.Context, req *DeleteRequest) error {
		inner := *req
		inner.Metadata = sealedMetadata(req.Metadata)
		return plain.remove(ctx, &inner)
	}
	o.removeMany = func(ctx context.Context, reqs []DeleteRequest) error {
		inner := make([]DeleteRequest, len(reqs))
		for i, req := range reqs {
			inner[i] = req
			inner[i].Metadata = sealedMetadata(req.Metadata)
		}
		return plain.removeMany(ctx, inner)
	}
	if plain.transact != nil {
		o.transact = func(ctx context.Context, ops []Operation, metadata map[string]string) error {
			sealed, err := keys.sealOperations(ops)
			if err != nil {
				return err
			}
			return plain.transact(ctx, sealed, sealedMetadata(metadata))
		}
	}
	return o
}

func (k *keyring) openAll(items []Item) []Item {
	opened := make([]Item, len(items))
	for i, item := range items {
		opened[i] = item
		if item.Err == nil {
			opened[i].Value, opened[i].Err = k.open(item.Value)
		}
	}
	return opened
}

func (k *keyring) sealRequest(req *SetRequest) (SetRequest, error) {
	sealed := *req
	value, err := k.seal(req.Value)
	if err != nil {
		return SetRequest{}, err
	}
	sealed.Value, sealed.JSON = value, false
	sealed.Metadata = sealedMetadata(req.Metadata)
	return sealed, nil
}

func (k *keyring) sealRequests(reqs []SetRequest) ([]SetRequest, error) {
	sealed := make([]SetRequest, len(reqs))
	for i := range reqs {
		var err error
		if sealed[i], err = k.sealRequest(&reqs[i]); err != nil {
			return nil, err
		}
	}
	return sealed, nil
}

func (k *keyring) sealOperations(ops []Operation) ([]Operation, error) {
	sealed := make([]Operation, len(ops))
	for i, op := range ops {
		if op.Delete != nil {
			inner := *op.Delete
			inner.Metadata = sealedMetadata(inner.Metadata)
			sealed[i].Delete = &inner
			continue
		}
		set, err := k.sealRequest(op.Set)
		if err != nil {
			return nil, err
		}
		sealed[i].Set = &set
	}
	return sealed, nil
}

// sealedMetadata hides the content type from the store: ciphertext is never a JSON document, and a store
// that keeps documents apart would look for it in the wrong place.
func sealedMetadata(metadata map[string]string) map[string]string {
	const contentType = "contentType"
	if _, ok := metadata[contentType]; !ok {
		return metadata
	}
	rest := make(map[string]string, len(metadata))
	for name, value := range metadata {
		if name != contentType {
			rest[name] = value
		}
	}
	return rest
}
