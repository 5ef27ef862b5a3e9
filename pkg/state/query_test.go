package state

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestQuery(t *testing.T) {
	store := newShelf()
	store.found = QueryResult{Token: "2", Metadata: map[string]string{"m": "1"},
		Items: []Item{{Key: "myapp||k", Value: []byte("1"), ETag: "3", Found: true}, {Key: "plain", Found: true}}}
	service := serve(t, store, Settings{})
	got, err := service.Query(t.Context(), "st", []byte(`{"filter":{"EQ":{"a":"b"}},"page":{"limit":2}}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := QueryResult{Token: "2", Metadata: map[string]string{"m": "1"},
		Items: []Item{{Key: "k", Value: []byte("1"), ETag: "3", Found: true}, {Key: "plain", Found: true}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if store.found.Items[0].Key != "myapp||k" {
		t.Error("the store's items were changed")
	}
	asked := []*Query{{Filter: &Comparison{Operator: "EQ", Path: "a", Values: []any{"b"}}, Limit: 2}}
	if diff := cmp.Diff(asked, store.queries); diff != "" {
		t.Error(diff)
	}
	_, err = service.Query(t.Context(), "st", []byte(`{`), nil)
	if got := answered(t, err); got.Code != "ERR_STATE_QUERY" || got.Message != "state store st query failed: failed to parse JSON query body: unexpected EOF" {
		t.Errorf("bad JSON: %+v", got)
	}
}
