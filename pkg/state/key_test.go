package state

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/daprd/daprd/pkg/apierr"
)

func TestKeyPrefix(t *testing.T) {
	cases := []struct {
		name, appID, namespace, strategy, want string
	}{
		{"default", "myapp", "ns1", "", "myapp||k"},
		{"appid", "myapp", "ns1", "appid", "myapp||k"},
		{"no app id", "", "ns1", "", "k"},
		{"name", "myapp", "ns1", "name", "St||k"},
		{"none", "myapp", "ns1", "none", "k"},
		{"namespace", "myapp", "ns1", "namespace", "ns1.myapp||k"},
		{"namespace that is empty", "myapp", "", "namespace", "myapp||k"},
		{"a prefix", "myapp", "ns1", "mypfx", "mypfx||k"},
		{"upper case", "myapp", "ns1", "MyPfx", "mypfx||k"},
		{"strategy in upper case", "myapp", "ns1", "NONE", "k"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			settings, err := ParseSettings(map[string]string{"keyPrefix": c.strategy}, nil)
			if err != nil {
				t.Fatal(err)
			}
			store, service := newShelf(), NewService(Deps{AppID: c.appID, Namespace: c.namespace})
			if err := service.Add("St", store, settings); err != nil {
				t.Fatal(err)
			}
			ctx, item := t.Context(), SetRequest{Key: "k", Value: []byte("v")}
			operation := []RawOperation{{Type: "upsert", Set: item}, {Type: "delete", Set: item}}
			err = errors.Join(
				service.Set(ctx, "St", []SetRequest{item}),
				service.Set(ctx, "St", []SetRequest{item, item}),
				service.Delete(ctx, "St", DeleteRequest{Key: "k"}),
				service.BulkDelete(ctx, "St", []DeleteRequest{{Key: "k"}, {Key: "k"}}),
				service.Transact(ctx, "St", Transaction{Operations: operation}),
			)
			if err != nil {
				t.Fatal(err)
			}
			got, err := service.Get(ctx, "St", GetRequest{Key: "k"})
			if err != nil || got.Key != "k" {
				t.Errorf("get: %+v, %v", got, err)
			}
			many, err := service.BulkGet(ctx, "St", BulkGetRequest{Keys: []string{"k"}})
			if err != nil || len(many) != 1 || many[0].Key != "k" {
				t.Errorf("bulk get: %+v, %v", many, err)
			}
			if len(store.keys) != 10 {
				t.Errorf("%d calls of the store, want 10", len(store.keys))
			}
			for _, key := range store.keys {
				if key != c.want {
					t.Errorf("stored key %q, want %q", key, c.want)
				}
			}
		})
	}
}

func TestPlainKey(t *testing.T) {
	for stored, want := range map[string]string{
		"k": "k", "myapp||k": "k", "myapp||T||1||k": "T", "||k": "k", "myapp||": "", "": "", "a|b": "a|b",
	} {
		if got := plainKey(stored); got != want {
			t.Errorf("%q: %q, want %q", stored, got, want)
		}
	}
}

func TestIllegalKey(t *testing.T) {
	store := newShelf()
	service := serve(t, store, Settings{})
	message := "input key/keyPrefix 'a||b' can't contain '||'"
	want := answer{Code: "ERR_MALFORMED_REQUEST", HTTP: 400, GRPC: codes.InvalidArgument, Message: message,
		Reason: "DAPR_STATE_ILLEGAL_KEY", Resource: &apierr.Resource{Type: "state", Name: "st"},
		Violation: &apierr.Violation{Field: "a||b", Description: message}}
	for name, err := range calls(t.Context(), service, "st", "a||b") {
		if name == "query" {
			continue
		}
		if diff := cmp.Diff(want, answered(t, err)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if len(store.keys) != 0 {
		t.Errorf("the store was asked for %q", store.keys)
	}
}

func TestEmptyKey(t *testing.T) {
	store := newShelf()
	service := serve(t, store, Settings{})
	err := service.Set(t.Context(), "st", []SetRequest{{Key: "fine"}, {Value: []byte("v")}})
	want := answer{Code: "ERR_MALFORMED_REQUEST", HTTP: 400, GRPC: codes.InvalidArgument,
		Message: "state key cannot be empty", Reason: "ERR_STATE_SAVE"}
	if diff := cmp.Diff(want, answered(t, err)); diff != "" {
		t.Error(diff)
	}
	if got := apierr.From(err).HTTPMessage(); got != `"key" is a required field` {
		t.Errorf("HTTP message %s", got)
	}
	if len(store.keys) != 0 {
		t.Errorf("the store was asked for %q", store.keys)
	}
	ops := []RawOperation{{Type: "upsert"}}
	if err := service.Transact(t.Context(), "st", Transaction{Operations: ops}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"myapp||"}, store.keys); diff != "" {
		t.Error("transaction:", diff)
	}
}
