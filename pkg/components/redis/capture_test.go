package redis

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/go-redis/redis/v8"
	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/state"
)

// captured is one step of what was recorded of Dapr: calls of its API, and the whole database after them.
type captured struct {
	Name  string            `json:"name"`
	Ops   []call            `json:"ops"`
	After map[string]stored `json:"redis_after"`
}

type call struct {
	// HTTP is "POST /v1.0/state/st".
	HTTP    string  `json:"http"`
	IfMatch *string `json:"if_match"`
	Body    string  `json:"body"`
	Status  int     `json:"status"`
	Answer  []byte  `json:"answer"`
	ETag    string  `json:"etag"`
	// GRPC is a method's name; Request is in the JSON form of protobuf.
	GRPC    string          `json:"grpc"`
	Request json.RawMessage `json:"request"`
	Code    string          `json:"code"`
}

// stored is a key as it stands in Redis.
type stored struct {
	Type  string            `json:"type"`
	TTL   int               `json:"ttl"`
	Value map[string][]byte `json:"value"`
}

func captures(t *testing.T, version string) (steps []captured) {
	t.Helper()
	text, err := os.ReadFile("testdata/state-" + version + ".json")
	if err == nil {
		err = json.Unmarshal(text, &steps)
	}
	if err != nil || len(steps) < 40 {
		t.Fatalf("%d steps: %v", len(steps), err)
	}
	return steps
}

// byMeaning are the steps whose values Dapr decodes and encodes again; here they stay as they were sent, so
// that only their meaning is the same.
var byMeaning = map[string]bool{
	"http save string with html and unicode characters":                     true,
	"http save number big/float":                                            true,
	"http save object, spacing and key order of the input":                  true,
	"transaction: upsert x2, delete":                                        true,
	"transaction: number, string, null values; ttl in transaction metadata": true,
}

// following are the steps that begin with what the step before left.
var following = map[string]bool{
	"first-write without etag, second time":     true,
	"etag right (2) last-write and first-write": true,
	"etag wrong": true,
	"delete with wrong etag, then right (If-Match)": true,
}

// otherwise are the steps that this project answers in another way than that version, with the reason.
var otherwise = map[string]map[string]string{
	"1.18.3": {
		"transaction: number, string, null values; ttl in transaction metadata": "an item's JSON content type without the module is kept as a hash, as a save does it, and fails no transaction",
	},
	"1.7.1": {
		"transaction: number, string, null values; ttl in transaction metadata":                "as in 1.18.3",
		"http save with contentType application/json metadata (Redis has no RedisJSON module)": "1.7.1 fails without the module; 1.18 keeps a hash",
		"grpc save with contentType application/json":                                          "1.7.1 fails without the module; 1.18 keeps a hash",
		"keyPrefix namespace (NAMESPACE=ns1)":                                                  "1.7.1 takes the word for the prefix itself",
		"empty key":                                                                            "1.7.1 accepts it",
	},
}

// What Dapr's users did is done again, and the database must be the same, to the byte.
func TestWritesWhatDaprWrote(t *testing.T) {
	server := redistest.Start(t)
	db := direct(t, server.Address)
	for version := range otherwise {
		for _, step := range captures(t, version) {
			t.Run(version+"/"+step.Name, func(t *testing.T) {
				if reason := otherwise[version][step.Name]; reason != "" {
					t.Skip(reason)
				}
				if !following[step.Name] {
					restore(t, db, nil)
				}
				service := sidecar(t, server.Address)
				for _, op := range step.Ops {
					op.replay(t, service, byMeaning[step.Name])
				}
				want, got := step.After, dump(t, db)
				if byMeaning[step.Name] {
					want, got = meaning(t, want), meaning(t, got)
				}
				if diff := cmp.Diff(want, got, ttlTolerance); diff != "" {
					t.Errorf("the database differs (-dapr +own):\n%s", diff)
				}
			})
		}
	}
}

// Seconds may pass between write and look.
var ttlTolerance = cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".TTL" },
	cmp.Comparer(func(a, b int) bool { return (a < 0) == (b < 0) && max(a-b, b-a) <= 5 }))

// What Dapr wrote is read, and then written over and deleted by its entity tags.
func TestReadsWhatDaprWrote(t *testing.T) {
	server := redistest.Start(t)
	db, store := direct(t, server.Address), openState(t, server.Address)
	read := 0
	for version := range otherwise {
		for _, step := range captures(t, version) {
			restore(t, db, step.After)
			for key, was := range step.After {
				read++
				item, err := store.Get(t.Context(), &state.GetRequest{Key: key})
				if err != nil {
					t.Fatalf("%s, %s: %s: %v", version, step.Name, key, err)
				}
				want := &state.Item{Key: key, Value: was.Value["data"], ETag: string(was.Value["version"]), Found: true}
				if diff := cmp.Diff(want, item); diff != "" {
					t.Errorf("%s, %s: %s", version, step.Name, diff)
				}
				wrong := "99"
				err = store.Set(t.Context(), &state.SetRequest{Key: key, Value: []byte("x"), ETag: &wrong, Concurrency: state.FirstWrite})
				if _, refused := state.IsETag(err); !refused {
					t.Errorf("%s, %s: %s: a wrong tag is accepted: %v", version, step.Name, key, err)
				}
				if err := store.Set(t.Context(), &state.SetRequest{Key: key, Value: []byte("x"), ETag: &item.ETag}); err != nil {
					t.Errorf("%s, %s: %v", version, step.Name, err)
				}
			}
		}
	}
	if read < 60 {
		t.Errorf("only %d keys were read", read)
	}
}

// sidecar is the building block with the stores of the recording.
func sidecar(t *testing.T, address string) *state.Service {
	service := state.NewService(state.Deps{AppID: "myapp", Namespace: "ns1"})
	t.Cleanup(func() {
		if err := service.Close(); err != nil {
			t.Error(err)
		}
	})
	for name, properties := range map[string]map[string]string{
		"st": nil, "st-none": {"keyPrefix": "none"}, "st-name": {"keyPrefix": "name"}, "st-ns": {"keyPrefix": "namespace"},
		"st-custom": {"keyPrefix": "mypfx"}, "st-appid": {"keyPrefix": "appid"}, "st-ttl": {"ttlInSeconds": "120"},
	} {
		settings, err := state.ParseSettings(properties, nil)
		if err != nil {
			t.Fatal(err)
		}
		manifest := spec(address)
		for name, value := range properties {
			manifest.Properties[name] = value
		}
		store, err := NewState(t.Context(), manifest)
		if err == nil {
			err = service.Add(name, store, settings)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return service
}

// replay does what the transports do with the call, and compares the outcome.
func (c *call) replay(t *testing.T, service *state.Service, byMeaning bool) {
	t.Helper()
	if c.GRPC != "" {
		err := c.replayGRPC(t, service)
		if (c.Code == "OK") != (err == nil) {
			t.Errorf("%s %s: %v, want code %s", c.GRPC, c.Request, err, c.Code)
		}
		return
	}
	item, err := c.replayHTTP(t, service)
	status := c.Status
	if err != nil {
		status = apierr.From(err).HTTP
	}
	if status != c.Status || (err == nil && c.Status >= 400) {
		t.Errorf("%s %s: status %d (%v), want %d", c.HTTP, c.Body, status, err, c.Status)
	}
	if item == nil || byMeaning {
		return
	}
	if string(item.Value) != string(c.Answer) || item.ETag != c.ETag || item.Found != (c.Status == http.StatusOK) {
		t.Errorf("%s: got %q with tag %q, want %q with tag %q", c.HTTP, item.Value, item.ETag, c.Answer, c.ETag)
	}
}

// saved is an item of a save in JSON.
type saved struct {
	Key      string            `json:"key"`
	Value    json.RawMessage   `json:"value"`
	ETag     *string           `json:"etag"`
	Metadata map[string]string `json:"metadata"`
	Options  struct {
		Concurrency state.Concurrency `json:"concurrency"`
		Consistency state.Consistency `json:"consistency"`
	} `json:"options"`
}

func (s saved) request(metadata map[string]string) state.SetRequest {
	req := state.SetRequest{Key: s.Key, Value: s.Value, JSON: true, ETag: s.ETag, Concurrency: s.Options.Concurrency,
		Consistency: s.Options.Consistency, Metadata: map[string]string{}}
	if req.Value == nil {
		req.Value = []byte("null")
	}
	for _, m := range []map[string]string{s.Metadata, metadata} {
		for k, v := range m {
			req.Metadata[k] = v
		}
	}
	return req
}

func (c *call) replayHTTP(t *testing.T, service *state.Service) (*state.Item, error) {
	method, target, _ := strings.Cut(c.HTTP, " ")
	address, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	metadata := map[string]string{}
	for name, values := range address.Query() {
		if key, ok := strings.CutPrefix(name, "metadata."); ok {
			metadata[key] = values[0]
		}
	}
	store, key, _ := strings.Cut(strings.TrimPrefix(address.Path, "/v1.0/state/"), "/")
	ctx := t.Context()
	switch {
	case method == http.MethodGet:
		item, err := service.Get(ctx, store, state.GetRequest{Key: key, Metadata: metadata})
		return &item, err
	case method == http.MethodDelete:
		concurrency := state.Concurrency(address.Query().Get("concurrency"))
		return nil, service.Delete(ctx, store, state.DeleteRequest{Key: key, ETag: c.IfMatch, Concurrency: concurrency})
	case key == "transaction":
		return nil, c.transact(ctx, t, service, store)
	case key == "bulk":
		var bulk struct{ Keys []string }
		c.unmarshal(t, []byte(c.Body), &bulk)
		_, err := service.BulkGet(ctx, store, state.BulkGetRequest{Keys: bulk.Keys})
		return nil, err
	}
	var items []saved
	c.unmarshal(t, []byte(c.Body), &items)
	requests := make([]state.SetRequest, len(items))
	for i := range items {
		requests[i] = items[i].request(metadata)
	}
	return nil, service.Set(ctx, store, requests)
}

func (c *call) transact(ctx context.Context, t *testing.T, service *state.Service, store string) error {
	var body struct {
		Operations []struct {
			Operation string
			Request   saved
		}
		Metadata map[string]string
	}
	c.unmarshal(t, []byte(c.Body), &body)
	operations := make([]state.RawOperation, len(body.Operations))
	for i, op := range body.Operations {
		operations[i] = state.RawOperation{Type: op.Operation, Set: op.Request.request(nil)}
	}
	return service.Transact(ctx, store, state.Transaction{Operations: operations, Metadata: body.Metadata})
}

// sent is an item in the JSON form of protobuf, where bytes are base64.
type sent struct {
	Key      string
	Value    []byte
	ETag     *struct{ Value string }
	Metadata map[string]string
	Options  struct{ Concurrency string }
}

func (s sent) request() state.SetRequest {
	req := state.SetRequest{Key: s.Key, Value: s.Value, Metadata: s.Metadata}
	if s.ETag != nil {
		req.ETag = &s.ETag.Value
	}
	if s.Options.Concurrency == "CONCURRENCY_FIRST_WRITE" {
		req.Concurrency = state.FirstWrite
	}
	return req
}

func (c *call) replayGRPC(t *testing.T, service *state.Service) error {
	var body struct {
		StoreName  string
		Key        string
		Keys       []string
		Metadata   map[string]string
		States     []sent
		Operations []struct {
			OperationType string
			Request       sent
		}
	}
	c.unmarshal(t, c.Request, &body)
	switch c.GRPC {
	case "SaveState":
		requests := make([]state.SetRequest, len(body.States))
		for i, item := range body.States {
			requests[i] = item.request()
		}
		return service.Set(t.Context(), body.StoreName, requests)
	case "GetState":
		_, err := service.Get(t.Context(), body.StoreName, state.GetRequest{Key: body.Key, Metadata: body.Metadata})
		return err
	case "GetBulkState":
		_, err := service.BulkGet(t.Context(), body.StoreName, state.BulkGetRequest{Keys: body.Keys})
		return err
	case "ExecuteStateTransaction":
		operations := make([]state.RawOperation, len(body.Operations))
		for i, op := range body.Operations {
			operations[i] = state.RawOperation{Type: op.OperationType, Set: op.Request.request()}
		}
		return service.Transact(t.Context(), body.StoreName, state.Transaction{Operations: operations, Metadata: body.Metadata})
	}
	t.Fatalf("unknown call %s", c.GRPC)
	return errors.ErrUnsupported
}

func (c *call) unmarshal(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// dump reads the whole database.
func dump(t *testing.T, db *redis.Client) map[string]stored {
	t.Helper()
	keys, err := db.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]stored, len(keys))
	for _, key := range keys {
		one := stored{Type: db.Type(t.Context(), key).Val(), TTL: -1, Value: map[string][]byte{}}
		if ttl := db.TTL(t.Context(), key).Val(); ttl > 0 {
			one.TTL = int(ttl.Seconds())
		}
		fields, err := db.HGetAll(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range fields {
			one.Value[name] = []byte(value)
		}
		all[key] = one
	}
	return all
}

// restore makes the database what it was.
func restore(t *testing.T, db *redis.Client, all map[string]stored) {
	t.Helper()
	pipe := db.Pipeline()
	pipe.FlushAll(t.Context())
	for key, one := range all {
		for name, value := range one.Value {
			pipe.HSet(t.Context(), key, name, value)
		}
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// meaning replaces the values by the form that Go's encoder gives them.
func meaning(t *testing.T, all map[string]stored) map[string]stored {
	t.Helper()
	for key, one := range all {
		var value any
		if err := json.Unmarshal(one.Value["data"], &value); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		if value == 0.0 {
			value = 0 // minus zero
		}
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		one.Value["data"] = text
	}
	return all
}
