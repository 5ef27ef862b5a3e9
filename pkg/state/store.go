// Package state is the state building block: the contract of state stores, and the Service that holds the
// block's whole meaning (key prefixes, entity tags, encryption, transactions, queries). It knows no wire:
// no HTTP, no protobuf.
package state

import (
	"context"
	"errors"
	"fmt"
)

// Store is what every state store can do. Keys are complete already (prefix included). All methods may be
// called by many goroutines at once. A request belongs to the caller: once a method returned, a store holds
// neither the request nor the bytes of its Value, which are used again. An Item belongs to the store: nobody
// changes it, its Value or its Metadata, so that a store may hand the same one to all readers.
type Store interface {
	// Get reads one key. An absent key gives an Item whose Found is false, and no error.
	Get(ctx context.Context, req *GetRequest) (*Item, error)
	// Set writes one key. An entity tag that does not fit is an *ETagError.
	Set(ctx context.Context, req *SetRequest) error
	// Delete removes one key. An absent key without an entity tag is no error.
	Delete(ctx context.Context, req *DeleteRequest) error
}

// Abilities of a Store beyond the contract, found by assertion once, when the store is added. A store that
// has io.Closer is closed at the end.
type (
	// Transactor applies several operations together.
	Transactor interface {
		Transact(ctx context.Context, ops []Operation, metadata map[string]string) error
	}
	// TransactionLimiter bounds the number of operations of one transaction.
	TransactionLimiter interface {
		// MaxOperations is the most operations in one transaction; 0 means no bound.
		MaxOperations() int
	}
	// Querier finds values by their content.
	Querier interface {
		Query(ctx context.Context, query *Query, metadata map[string]string) (*QueryResult, error)
	}
	// BulkGetter reads many keys in one round trip. Items come in the order of the requests, one for each;
	// an absent key gives an Item that is not Found.
	BulkGetter interface {
		BulkGet(ctx context.Context, reqs []GetRequest) ([]Item, error)
	}
	// Featured names what the interfaces cannot tell: all but TRANSACTIONAL. It is asked once, when the store
	// is added.
	Featured interface {
		Features() []Feature
	}
)

// Feature is a capability as the metadata API lists it.
type Feature string

// The features of state stores, in the words of Dapr 1.18.
const (
	FeatureETag             Feature = "ETAG"
	FeatureTransactional    Feature = "TRANSACTIONAL"
	FeatureTTL              Feature = "TTL"
	FeatureQuery            Feature = "QUERY_API"
	FeatureDeleteWithPrefix Feature = "DELETE_WITH_PREFIX"
	FeatureKeysLike         Feature = "KEYS_LIKE"
	// FeatureActor is never named by a store: entity tags and transactions together make it.
	FeatureActor Feature = "ACTOR"
)

// Concurrency is the rule for writers that meet. Other texts than these are an error of Set.
type Concurrency string

// The concurrency rules; "" is the store's default, which is LastWrite everywhere.
const (
	FirstWrite Concurrency = "first-write"
	LastWrite  Concurrency = "last-write"
)

// Consistency is the rule for replicas. Get ignores other texts than these, Set refuses them.
type Consistency string

// The consistency rules; "" is the store's default.
const (
	Strong   Consistency = "strong"
	Eventual Consistency = "eventual"
)

// GetRequest reads Key.
type GetRequest struct {
	Key         string
	Consistency Consistency
	Metadata    map[string]string
}

// SetRequest writes Value under Key.
type SetRequest struct {
	Key string
	// Value is kept byte for byte.
	Value []byte
	// JSON says that Value is the text of a JSON value, as HTTP callers send it. It selects how stores that
	// tell the two apart keep it (SQLite); it never changes Value.
	JSON bool
	// ContentType is what an HTTP caller says of Value beside its metadata, "" for nothing. Stores do not read it.
	ContentType string
	// ETag is nil without a condition.
	ETag        *string
	Concurrency Concurrency
	Consistency Consistency
	// Metadata holds ttlInSeconds, contentType, partitionKey and whatever the store understands.
	Metadata map[string]string
}

// DeleteRequest removes Key.
type DeleteRequest struct {
	Key string
	// ETag is nil without a condition.
	ETag        *string
	Concurrency Concurrency
	Consistency Consistency
	Metadata    map[string]string
}

// Operation is one step of a transaction: exactly one of the two is set.
type Operation struct {
	Set    *SetRequest
	Delete *DeleteRequest
}

// Item is what a store knows of a key.
type Item struct {
	Key   string
	Value []byte
	// ETag is "" where the store has none.
	ETag string
	// Found is false for an absent key.
	Found bool
	// Metadata goes back to the caller, ttlExpireTime for one (RFC 3339, UTC).
	Metadata map[string]string
	// Err is the failure of this key alone within a bulk get.
	Err error
}

// ETagKind is what is wrong with an entity tag.
type ETagKind int

const (
	// ETagMismatch: somebody else wrote since.
	ETagMismatch ETagKind = iota
	// ETagInvalid: the store can never have given this tag.
	ETagInvalid
)

// ETagError is a write that its entity tag refused. Its texts are those of Dapr.
type ETagError struct {
	Kind  ETagKind
	Cause error
}

// Error is Dapr's text for the kind, and the cause.
func (e *ETagError) Error() string {
	text := "possible etag mismatch. error from state store"
	if e.Kind == ETagInvalid {
		text = "invalid etag value"
	}
	if e.Cause == nil {
		return text
	}
	return fmt.Sprintf("%s: %s", text, e.Cause)
}

// Unwrap is the cause.
func (e *ETagError) Unwrap() error { return e.Cause }

// IsETag finds an *ETagError in err, also inside joined errors.
func IsETag(err error) (*ETagError, bool) {
	var e *ETagError
	ok := errors.As(err, &e)
	return e, ok
}
