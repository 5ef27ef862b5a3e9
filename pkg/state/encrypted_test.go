package state

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEncryptedStore(t *testing.T) {
	all := readRecorded(t)
	for _, c := range []struct {
		name string
		bare func(*shelf) Store
	}{
		{"every ability", func(s *shelf) Store { return s }},
		{"no ability", func(s *shelf) Store { return plainShelf{s} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := newShelf()
			service := serve(t, c.bare(store), all.settings(t, "k256", "k128"))
			metadata := map[string]string{"contentType": "application/json", "ttlInSeconds": "5"}
			item := func(key, value string) SetRequest {
				return SetRequest{Key: key, Value: []byte(value), JSON: true, Metadata: metadata}
			}
			if err := service.Set(t.Context(), "st", []SetRequest{item("a", ` {"x": 1}`)}); err != nil {
				t.Fatal(err)
			}
			if err := service.Set(t.Context(), "st", []SetRequest{item("b", `"hello"`), item("c", "")}); err != nil {
				t.Fatal(err)
			}
			for _, set := range store.sets {
				if !strings.HasSuffix(string(set.Value), "||k256") || set.JSON {
					t.Errorf("stored %q with JSON %v", set.Value, set.JSON)
				}
				if diff := cmp.Diff(map[string]string{"ttlInSeconds": "5"}, set.Metadata); diff != "" {
					t.Error(diff)
				}
			}
			store.items["myapp||old"] = &Item{Value: []byte(all.Records[0].Stored), Found: true}
			store.items["myapp||plain"] = &Item{Value: []byte("never encrypted"), Found: true}
			one, err := service.Get(t.Context(), "st", GetRequest{Key: "a", Metadata: metadata})
			if err != nil || string(one.Value) != ` {"x": 1}` || one.ETag != "1" || !one.Found {
				t.Errorf("get: %+v, %v", one, err)
			}
			if one, err := service.Get(t.Context(), "st", GetRequest{Key: "none"}); err != nil || one.Found {
				t.Errorf("absent: %+v, %v", one, err)
			}
			_, err = service.Get(t.Context(), "st", GetRequest{Key: "plain"})
			if got := answered(t, err); got.Code != "ERR_STATE_GET" || !strings.HasPrefix(got.Message,
				"fail to get plain from state store st: encryption key name not found on record") {
				t.Errorf("a value that was never encrypted: %+v", got)
			}
			many, err := service.BulkGet(t.Context(), "st", BulkGetRequest{Keys: []string{"b", "none", "c", "plain", "old"}})
			if err != nil {
				t.Fatal(err)
			}
			var texts []string
			for _, item := range many {
				text := string(item.Value)
				if item.Err != nil {
					text = "error"
				}
				texts = append(texts, item.Key+"="+text)
			}
			if diff := cmp.Diff([]string{`b="hello"`, "none=", "c=", "plain=error", "old=" + all.Records[0].Plain}, texts); diff != "" {
				t.Error(diff)
			}
			_, err = service.Query(t.Context(), "st", []byte(`{}`), nil)
			if c.name == "every ability" {
				if got := answered(t, err); got.Message != "state store st query failed: cannot query encrypted store" {
					t.Errorf("query: %+v", got)
				}
			}
		})
	}
}

func TestEncryptedTransaction(t *testing.T) {
	store := newShelf()
	service := serve(t, store, readRecorded(t).settings(t, "k128", ""))
	ops := []RawOperation{
		{Type: "upsert", Set: SetRequest{Key: "t", Value: []byte("tx")}},
		{Type: "upsert", Set: SetRequest{Key: "gone", Value: []byte("tx")}},
		{Type: "delete", Set: SetRequest{Key: "gone"}},
	}
	if err := service.Transact(t.Context(), "st", Transaction{Operations: ops}); err != nil {
		t.Fatal(err)
	}
	for _, set := range store.sets {
		if !strings.HasSuffix(string(set.Value), "||k128") {
			t.Errorf("stored %q", set.Value)
		}
	}
	if got, err := service.Get(t.Context(), "st", GetRequest{Key: "t"}); err != nil || string(got.Value) != "tx" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := service.Get(t.Context(), "st", GetRequest{Key: "gone"}); err != nil || got.Found {
		t.Errorf("%+v, %v", got, err)
	}
}
