package test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	goredis "github.com/go-redis/redis/v8"
	"google.golang.org/grpc/codes"

	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// The errors of state, as Dapr 1.18 words them.
var (
	unknownStore = &fault{HTTP: http.StatusBadRequest, Code: "ERR_STATE_STORE_NOT_FOUND", GRPC: codes.InvalidArgument,
		Text: "state store {store} is not found", Reason: "DAPR_STATE_NOT_FOUND", Rich: true}
	noStores = &fault{HTTP: http.StatusInternalServerError, Code: "ERR_STATE_STORE_NOT_CONFIGURED", GRPC: codes.FailedPrecondition,
		Text: "state store {store} is not configured", Reason: "DAPR_STATE_NOT_CONFIGURED", Rich: true}
	illegalKey = &fault{HTTP: http.StatusBadRequest, Code: "ERR_MALFORMED_REQUEST", GRPC: codes.InvalidArgument,
		Text:   "input key/keyPrefix '{key:a||b}' can't contain '||'",
		OnHTTP: "api error: code = InvalidArgument desc = input key/keyPrefix '{key:a||b}' can't contain '||'",
		Reason: "DAPR_STATE_ILLEGAL_KEY", Rich: true}
	emptyKey = &fault{HTTP: http.StatusBadRequest, Code: "ERR_MALFORMED_REQUEST", GRPC: codes.InvalidArgument,
		Text: "state key cannot be empty", OnHTTP: `"key" is a required field`, Reason: "ERR_STATE_SAVE"}
	saveMismatch = &fault{HTTP: http.StatusConflict, Code: "ERR_STATE_SAVE", GRPC: codes.Aborted,
		Text: "failed saving state in state store {store}: possible etag mismatch. error from state store…", Reason: "ERR_STATE_SAVE"}
	deleteMismatch = &fault{HTTP: http.StatusConflict, Code: "ERR_STATE_DELETE", GRPC: codes.Aborted,
		Text: "failed deleting state with key {key:k}: possible etag mismatch. error from state store…", Reason: "ERR_STATE_DELETE"}
	transactionMismatch = &fault{HTTP: http.StatusInternalServerError, Code: "ERR_STATE_TRANSACTION", GRPC: codes.Internal,
		Text: "error while executing state transaction: …", Reason: "ERR_STATE_TRANSACTION"}
	unknownOperation = &fault{HTTP: http.StatusBadRequest, Code: "ERR_NOT_SUPPORTED_STATE_OPERATION", GRPC: codes.Unimplemented,
		Text: "operation type increment not supported", Reason: "ERR_NOT_SUPPORTED_STATE_OPERATION"}
	noQueries = &fault{HTTP: http.StatusInternalServerError, Code: "ERR_STATE_STORE_NOT_SUPPORTED", GRPC: codes.Internal,
		Text: "state store does not support querying", Reason: "DAPR_STATE_QUERYING_NOT_SUPPORTED", Rich: true}
	badQuery = &fault{HTTP: http.StatusInternalServerError, Code: "ERR_STATE_QUERY", GRPC: codes.Internal,
		Text: "state store {store} query failed: …", Reason: "DAPR_STATE_QUERY_FAILED", Rich: true}
)

func upsert(name, value string) stateOperation {
	return stateOperation{Type: "upsert", Item: stateItem{Key: name, Value: value}}
}

// stateCases are the meanings of state, for one store.
func stateCases(store string) []parityCase {
	cases := append(readingCases(), writingCases()...)
	cases = append(cases, etagCases(store)...)
	cases = append(cases, transactionCases()...)
	return append(cases, unusableCases(store)...)
}

func readingCases() []parityCase {
	return []parityCase{
		{name: "get of an absent key", do: func(a *asker) meaning { return a.get("none") }},
		{name: "what was saved comes back byte for byte", do: func(a *asker) meaning {
			a.put("k", `{ "b": 1.50,"a":[1e3,  "\u00e9<&>"],"a2":12345678901234567890 }`)
			return a.get("k")
		}, want: meaning{Value: `{ "b": 1.50,"a":[1e3,  "\u00e9<&>"],"a2":12345678901234567890 }`, ETag: true}},
		{name: "a text", do: func(a *asker) meaning {
			a.put("k", `"hello"`)
			return a.get("k")
		}, want: meaning{Value: `"hello"`, ETag: true}},
		{name: "an empty text", do: func(a *asker) meaning {
			a.put("k", `""`)
			return a.get("k")
		}, want: meaning{Value: `""`, ETag: true}},
		{name: "null", do: func(a *asker) meaning {
			a.put("k", `null`)
			return a.get("k")
		}, want: meaning{Value: `null`, ETag: true}},
		{name: "a megabyte", do: func(a *asker) meaning {
			a.put("k", `"`+strings.Repeat("m", 1<<20)+`"`)
			return a.get("k")
		}, want: meaning{Value: `"` + strings.Repeat("m", 1<<20) + `"`, ETag: true}},
		{name: "a key of odd characters", do: func(a *asker) meaning {
			a.put("ключ a/b+c%2F?&=|ü", "1")
			return a.get("ключ a/b+c%2F?&=|ü")
		}, want: meaning{Value: "1", ETag: true}},
		{name: "strong and eventual reads", do: func(a *asker) meaning {
			a.must(a.save(stateItem{Key: "k", Value: "1", Consistency: "eventual"}))
			return a.get("k")
		}, want: meaning{Value: "1", ETag: true}},
		{name: "a key of another is not seen", do: func(a *asker) meaning {
			a.put("k", "1")
			return a.get("K")
		}},
		{name: "bulk in the order of the keys, absent ones with their key only", do: func(a *asker) meaning {
			a.must(a.save(stateItem{Key: "one", Value: `{"n":1}`}, stateItem{Key: "two", Value: `"2"`}))
			return a.bulk("two", "none", "one")
		}, want: meaning{Items: []parityItem{{"two", `"2"`, true, ""}, {"none", "", false, ""}, {"one", `{"n":1}`, true, ""}}}},
		{name: "bulk of nothing", do: func(a *asker) meaning { return a.bulk() }},
		{name: "bulk of one key twice", do: func(a *asker) meaning {
			a.put("k", "1")
			return a.bulk("k", "k")
		}, want: meaning{Items: []parityItem{{"k", "1", true, ""}, {"k", "1", true, ""}}}},
	}
}

func writingCases() []parityCase {
	return []parityCase{
		{name: "the last write holds", do: func(a *asker) meaning {
			a.put("k", "1")
			a.put("k", "2")
			return a.get("k")
		}, want: meaning{Value: "2", ETag: true}},
		{name: "save of nothing", do: func(a *asker) meaning { return a.save() }},
		{name: "save of many", do: func(a *asker) meaning {
			a.must(a.save(stateItem{Key: "a", Value: "1"}, stateItem{Key: "b", Value: "2"}, stateItem{Key: "c", Value: "3"}))
			return a.bulk("c", "b", "a")
		}, want: meaning{Items: []parityItem{{"c", "3", true, ""}, {"b", "2", true, ""}, {"a", "1", true, ""}}}},
		{name: "delete", do: func(a *asker) meaning {
			a.put("k", "1")
			a.must(a.remove(stateItem{Key: "k"}))
			return a.get("k")
		}},
		{name: "delete of an absent key", do: func(a *asker) meaning { return a.remove(stateItem{Key: "none"}) }},
		{name: "a key of long life is there", do: func(a *asker) meaning {
			a.must(a.save(stateItem{Key: "k", Value: "1", Metadata: map[string]string{"ttlInSeconds": "3600"}}))
			return a.get("k")
		}, want: meaning{Value: "1", ETag: true}},
		{name: "a time to live that is no number", do: func(a *asker) meaning {
			return a.save(stateItem{Key: "k", Value: "1", Metadata: map[string]string{"ttlInSeconds": "soon"}})
		}, want: meaning{Fault: &fault{HTTP: http.StatusInternalServerError, Code: "ERR_STATE_SAVE", GRPC: codes.Internal,
			Text: "failed saving state in state store {store}: …", Reason: "ERR_STATE_SAVE"}}},
	}
}

func etagCases(store string) []parityCase {
	second := saveMismatch
	if store == "redis" {
		// Dapr does not count it as a tag that does not match (captures of Redis: "first-write without etag").
		second = &fault{HTTP: http.StatusInternalServerError, Code: "ERR_STATE_SAVE", GRPC: codes.Internal,
			Text: "failed saving state in state store {store}: failed to set key …", Reason: "ERR_STATE_SAVE"}
	}
	cases := []parityCase{
		{name: "save by the right tag", do: func(a *asker) meaning {
			a.put("k", "1")
			a.must(a.save(stateItem{Key: "k", Value: "2", ETag: a.etag("k"), Concurrency: "first-write"}))
			return a.get("k")
		}, want: meaning{Value: "2", ETag: true}},
		{name: "save by an old tag", do: func(a *asker) meaning {
			a.put("k", "1")
			old := a.etag("k")
			a.put("k", "2")
			return a.save(stateItem{Key: "k", Value: "3", ETag: old})
		}, want: meaning{Fault: saveMismatch}},
		{name: "a refused save changes nothing", do: func(a *asker) meaning {
			a.put("k", "1")
			old := a.etag("k")
			a.put("k", "2")
			a.save(stateItem{Key: "k", Value: "3", ETag: old})
			return a.get("k")
		}, want: meaning{Value: "2", ETag: true}},
		{name: "first write over a value", do: func(a *asker) meaning {
			a.must(a.save(stateItem{Key: "k", Value: "1", Concurrency: "first-write"}))
			return a.save(stateItem{Key: "k", Value: "2", Concurrency: "first-write"})
		}, want: meaning{Fault: second}},
		{name: "delete by the right tag", do: func(a *asker) meaning {
			a.put("k", "1")
			a.must(a.remove(stateItem{Key: "k", ETag: a.etag("k")}))
			return a.get("k")
		}},
		{name: "delete by an old tag", do: func(a *asker) meaning {
			a.put("k", "1")
			old := a.etag("k")
			a.put("k", "2")
			return a.remove(stateItem{Key: "k", ETag: old})
		}, want: meaning{Fault: deleteMismatch}},
	}
	if store == "redis" {
		cases = append(cases, parityCase{name: "a tag that Redis never gave", do: func(a *asker) meaning {
			a.put("k", "1")
			tag := "not a number"
			return a.save(stateItem{Key: "k", Value: "2", ETag: &tag})
		}, want: meaning{Fault: &fault{HTTP: http.StatusBadRequest, Code: "ERR_STATE_SAVE", GRPC: codes.InvalidArgument,
			Text: "failed saving state in state store {store}: invalid etag value…", Reason: "ERR_STATE_SAVE"}}})
	}
	return cases
}

func transactionCases() []parityCase {
	return []parityCase{
		{name: "transaction", do: func(a *asker) meaning {
			a.put("gone", "1")
			a.must(a.transact(upsert("a", `"1"`), upsert("b", `{"n": 2}`), stateOperation{Type: "delete", Item: stateItem{Key: "gone"}}))
			return a.bulk("a", "b", "gone")
		}, want: meaning{Items: []parityItem{{"a", `"1"`, true, ""}, {"b", `{"n": 2}`, true, ""}, {"gone", "", false, ""}}}},
		{name: "transaction of nothing", do: func(a *asker) meaning { return a.transact() }},
		{name: "transaction with an unknown operation", do: func(a *asker) meaning {
			return a.transact(upsert("a", "1"), stateOperation{Type: "increment", Item: stateItem{Key: "a"}})
		}, want: meaning{Fault: unknownOperation}},
		{name: "an unknown operation keeps the others from being applied", do: func(a *asker) meaning {
			a.transact(upsert("a", "1"), stateOperation{Type: "increment", Item: stateItem{Key: "a"}})
			return a.get("a")
		}},
		{name: "transaction by an old tag", do: func(a *asker) meaning {
			a.put("k", "1")
			old := a.etag("k")
			a.put("k", "2")
			return a.transact(stateOperation{Type: "upsert", Item: stateItem{Key: "k", Value: "3", ETag: old}})
		}, want: meaning{Fault: transactionMismatch}},
		{name: "transaction with an illegal key", do: func(a *asker) meaning {
			return a.transact(upsert("fine", "1"), upsert("a||b", "1"))
		}, want: meaning{Fault: illegalKey}},
	}
}

// unusableCases are requests that no store sees.
func unusableCases(store string) []parityCase {
	query := parityCase{name: "query", do: func(a *asker) meaning { return a.api.query(a.ctx, a.store, `{"filter":{"EQ":{"a":1}}}`) },
		want: meaning{Fault: noQueries}}
	if store == "redis" {
		// This server has no search module.
		query.want = meaning{Fault: badQuery}
	}
	return []parityCase{
		query,
		{name: "get of an illegal key", do: func(a *asker) meaning { return a.get("a||b") }, want: meaning{Fault: illegalKey}},
		{name: "save of an illegal key", do: func(a *asker) meaning {
			return a.save(stateItem{Key: "fine", Value: "1"}, stateItem{Key: "a||b", Value: "1"})
		}, want: meaning{Fault: illegalKey}},
		{name: "an illegal key keeps the others from being saved", do: func(a *asker) meaning {
			a.save(stateItem{Key: "fine", Value: "1"}, stateItem{Key: "a||b", Value: "1"})
			return a.get("fine")
		}},
		{name: "delete of an illegal key", do: func(a *asker) meaning { return a.remove(stateItem{Key: "a||b"}) }, want: meaning{Fault: illegalKey}},
		{name: "bulk with an illegal key", do: func(a *asker) meaning { return a.bulk("a||b", "c") }, want: meaning{Fault: illegalKey}},
		{name: "save without a key", do: func(a *asker) meaning {
			return a.api.saveState(a.ctx, a.store, stateItem{Value: "1"})
		}, want: meaning{Fault: emptyKey}},
	}
}

// storelessCases ask for a store that is not there.
func storelessCases(want *fault) []parityCase {
	cases := []parityCase{
		{name: "get", do: func(a *asker) meaning { return a.get("k") }},
		{name: "save", do: func(a *asker) meaning { return a.save(stateItem{Key: "k", Value: "1"}) }},
		{name: "delete", do: func(a *asker) meaning { return a.remove(stateItem{Key: "k"}) }},
		{name: "bulk", do: func(a *asker) meaning { return a.bulk("k") }},
		{name: "transaction", do: func(a *asker) meaning { return a.transact(upsert("k", "1")) }},
		{name: "query", do: func(a *asker) meaning { return a.api.query(a.ctx, a.store, `{}`) }},
	}
	for i := range cases {
		cases[i].want = meaning{Fault: want}
	}
	return cases
}

// encryptionCases are asked of the store "sealed"; "bare" shows the same rows as they are.
func encryptionCases() []parityCase {
	bare := func(a *asker, name string) string {
		value, _ := a.api.getState(a.ctx, "bare", a.key(name), nil)
		return value.Value
	}
	notDecrypted := &fault{HTTP: http.StatusInternalServerError, Code: "ERR_STATE_GET", GRPC: codes.Internal,
		Text: "fail to get {key:k} from state store {store}: …", Reason: "ERR_STATE_GET"}
	return []parityCase{
		{name: "an encrypted value comes back", do: func(a *asker) meaning {
			a.put("k", `{"secret": 1}`)
			return a.get("k")
		}, want: meaning{Value: `{"secret": 1}`, ETag: true}},
		{name: "what is stored is ciphertext and the name of the key", do: func(a *asker) meaning {
			a.put("k", `"plain"`)
			text, name, _ := strings.Cut(bare(a, "k"), "||")
			sealed, err := base64.StdEncoding.DecodeString(text)
			if err != nil || strings.Contains(string(sealed), "plain") {
				a.t.Errorf("stored: %q (%v)", text, err)
			}
			// A nonce of 12 bytes and a tag of 16 are around it.
			return meaning{Value: name, Status: len(sealed)}
		}, want: meaning{Value: "key", Status: 12 + len(`"plain"`) + 16}},
		{name: "bulk", do: func(a *asker) meaning {
			a.must(a.save(stateItem{Key: "a", Value: "1"}, stateItem{Key: "b", Value: "2"}))
			return a.bulk("a", "none", "b")
		}, want: meaning{Items: []parityItem{{"a", "1", true, ""}, {"none", "", false, ""}, {"b", "2", true, ""}}}},
		{name: "transaction", do: func(a *asker) meaning {
			a.must(a.transact(upsert("k", `"t"`)))
			if strings.Contains(bare(a, "k"), `"t"`) {
				a.t.Error("a transaction stores the plain value")
			}
			return a.get("k")
		}, want: meaning{Value: `"t"`, ETag: true}},
		{name: "a value that is not ciphertext", do: func(a *asker) meaning {
			a.must(a.api.saveState(a.ctx, "bare", stateItem{Key: a.key("k"), Value: `"never encrypted"`}))
			return a.get("k")
		}, want: meaning{Fault: notDecrypted}},
		{name: "query", do: func(a *asker) meaning { return a.api.query(a.ctx, a.store, `{}`) }, want: meaning{Fault: noQueries}},
	}
}

// TestParityOfStores: names that no store has, with other stores there and without any.
func TestParityOfStores(t *testing.T) {
	runtimetest.Isolate(t)
	some := runtimetest.Start(t, "parity-some", runtimetest.Manifests(t, memoryStore))
	none := runtimetest.Start(t, "parity-none")
	askAll(t, storelessCases(unknownStore), transports(t, some), "nowhere", false)
	t.Run("none", func(t *testing.T) {
		askAll(t, storelessCases(noStores), transports(t, none), "nowhere", false)
	})
	t.Run("secrets", func(t *testing.T) {
		askAll(t, []parityCase{
			{name: "get", do: func(a *asker) meaning { return a.api.secret(a.ctx, "nowhere", "one") }, want: meaning{Fault: noSecretStores}},
			{name: "bulk", do: func(a *asker) meaning { return a.api.secrets(a.ctx, "nowhere") }, want: meaning{Fault: noSecretStores}},
		}, transports(t, none), "", false)
	})
}

// TestKeysInRedis: what each strategy makes of a key, the same over both transports.
func TestKeysInRedis(t *testing.T) {
	w := newParityWorld(t)
	client := goredis.NewClient(&goredis.Options{Addr: w.redis.Address})
	t.Cleanup(func() { client.Close() })
	for store, stored := range map[string]string{
		"redis": "parity||k", "byname": "byname||k", "bynamespace": "ns1.parity||k", "bynothing": "k", "byword": "shared||k",
	} {
		for _, api := range w.apis {
			t.Run(store+"/"+api.name(), func(t *testing.T) {
				if answer := api.saveState(t.Context(), store, stateItem{Key: "k", Value: `"` + api.name() + `"`}); answer.Fault != nil {
					t.Fatal(answer.Fault)
				}
				if got := client.HGet(t.Context(), stored, "data").Val(); got != `"`+api.name()+`"` {
					t.Errorf("%s in Redis holds %q", stored, got)
				}
			})
		}
	}
	if size := client.DBSize(t.Context()).Val(); size != 5 {
		t.Errorf("%d keys in Redis, want 5: %v", size, client.Keys(t.Context(), "*").Val())
	}
}
