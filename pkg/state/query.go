package state

import (
	"context"

	"github.com/daprd/daprd/pkg/apierr"
)

// The operators of a Comparison; IN alone has several values.
const (
	OperatorEqual          = "EQ"
	OperatorNotEqual       = "NEQ"
	OperatorGreater        = "GT"
	OperatorGreaterOrEqual = "GTE"
	OperatorLess           = "LT"
	OperatorLessOrEqual    = "LTE"
	OperatorIn             = "IN"
)

// The operators of a Combination.
const (
	OperatorAnd = "AND"
	OperatorOr  = "OR"
)

// Query is a parsed query of the v1.0-alpha1 API.
type Query struct {
	// Filter is nil for all values.
	Filter Filter
	Sort   []Sort
	// Limit is the most results of one page, 0 for the store's default.
	Limit int
	// Token continues after an earlier page.
	Token string
}

// Filter is a condition: one of Comparison and Combination.
type Filter interface{ isFilter() }

// Comparison compares the value at a path with one value (EQ, NEQ, GT, GTE, LT, LTE) or several (IN).
type Comparison struct {
	Operator string
	// Path leads to the value, its steps separated by dots.
	Path string
	// Values are string, json.Number (the digits as they were sent), bool or nil.
	Values []any
}

// Combination joins at least two conditions by AND or OR.
type Combination struct {
	Operator string
	Filters  []Filter
}

func (*Comparison) isFilter()  {}
func (*Combination) isFilter() {}

// Sort orders results by the value at a path.
type Sort struct {
	Path       string
	Descending bool
}

// QueryResult is one page.
type QueryResult struct {
	Items    []Item
	Token    string
	Metadata map[string]string
}

// Query finds items by their content. query is the JSON text of the v1.0-alpha1 API.
func (s *Service) Query(ctx context.Context, store string, query []byte, metadata map[string]string) (QueryResult, error) {
	held, err := s.take(store)
	if err != nil {
		return QueryResult{}, err
	}
	defer held.Leave()
	c := held.Value
	if c.query == nil {
		return QueryResult{}, apierr.StateQueryNotSupported.New().WithResource("state", store, "")
	}
	result, err := c.search(ctx, query, metadata)
	if err != nil {
		return QueryResult{}, apierr.StateQuery.New(store, err).WithResource("state", store, "")
	}
	page := *result
	page.Items = make([]Item, len(result.Items))
	for i, item := range result.Items {
		page.Items[i] = item
		page.Items[i].Key = plainKey(item.Key)
	}
	return page, nil
}

func (c *component) search(ctx context.Context, text []byte, metadata map[string]string) (*QueryResult, error) {
	if c.settings.Encrypted() {
		return nil, errEncryptedQuery
	}
	query, err := ParseQuery(text)
	if err != nil {
		return nil, err
	}
	return c.query(ctx, query, metadata)
}
