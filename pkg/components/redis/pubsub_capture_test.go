package redis

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/pubsub"
)

// published is one publish through Dapr: the entries that it added, by topic, each an id and its fields.
type published struct {
	Version string                         `json:"daprd"`
	Name    string                         `json:"name"`
	Added   map[string][][]json.RawMessage `json:"redis_stream_added"`
}

// entries are those of Dapr's captures of CloudEvents over Redis.
func entries(t *testing.T, each func(p *published, topic string, fields map[string][]byte)) {
	t.Helper()
	text, err := os.ReadFile("testdata/streams.json")
	var all []published
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil || len(all) < 150 {
		t.Fatalf("%d steps: %v", len(all), err)
	}
	for i := range all {
		for topic, added := range all[i].Added {
			for _, entry := range added {
				var fields map[string][]byte
				if err := json.Unmarshal(entry[1], &fields); err != nil {
					t.Fatal(err)
				}
				each(&all[i], topic, fields)
			}
		}
	}
}

// TestCapturedEntriesAreRead: what Dapr's sidecars publish is delivered, byte for byte, with its metadata.
func TestCapturedEntriesAreRead(t *testing.T) {
	server := redistest.Start(t)
	client := direct(t, server.Address)
	b := openPubSub(t, server.Address, "concurrency", "1")
	messages, deliver := collect()
	for _, topic := range []string{"t", "raw"} {
		subscribe(t, b, topic, pubsub.Batch{}, deliver)
	}
	entries(t, func(p *published, topic string, fields map[string][]byte) {
		var values []any
		for name, value := range fields {
			values = append(values, name, value)
		}
		if err := client.XAdd(t.Context(), &goredis.XAddArgs{Stream: topic, Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
		want := pubsub.Message{Topic: topic, Data: fields["data"]}
		if metadata, ok := fields["metadata"]; ok {
			if err := json.Unmarshal(metadata, &want.Metadata); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case got := <-messages:
			want.ID = got.ID
			if diff := cmp.Diff(&want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s, %s: %s", p.Version, p.Name, diff)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s, %s: not delivered", p.Version, p.Name)
		}
	})
}

// TestCapturedEntriesAreWritten: an entry has the fields that Dapr 1.18 gives it. (1.7 knows no metadata.)
func TestCapturedEntriesAreWritten(t *testing.T) {
	server := redistest.Start(t)
	client := direct(t, server.Address)
	b := openPubSub(t, server.Address)
	entries(t, func(p *published, topic string, fields map[string][]byte) {
		req := pubsub.PublishRequest{Topic: topic, Data: fields["data"]}
		if metadata, ok := fields["metadata"]; ok {
			if err := json.Unmarshal(metadata, &req.Metadata); err != nil {
				t.Fatal(err)
			}
		} else {
			fields["metadata"] = []byte("{}")
		}
		if err := b.Publish(t.Context(), &req); err != nil {
			t.Fatal(err)
		}
		last, err := client.XRevRangeN(t.Context(), topic, "+", "-", 1).Result()
		if err != nil || len(last) != 1 {
			t.Fatal(last, err)
		}
		got := map[string][]byte{}
		for name, value := range last[0].Values {
			got[name] = []byte(value.(string))
		}
		if diff := cmp.Diff(fields, got); diff != "" {
			t.Errorf("%s, %s: %s", p.Version, p.Name, diff)
		}
	})
}

// FuzzEntry: whatever other programs put into a stream is a message.
func FuzzEntry(f *testing.F) {
	f.Add("1-0", "data", "x", "metadata", `{"a":"b"}`)
	f.Add("1-18446744073709551615", "metadata", "[1]", "data", "")
	f.Add("x", "", "\xff", "metadata", `{"a":1}`)
	f.Fuzz(func(t *testing.T, id, name, value, other, text string) {
		sent := goredis.XMessage{ID: id, Values: map[string]any{name: value, other: text}}
		e := read(&subscription{topic: "t"}, sent)
		if e.message.ID != id || e.message.Topic != "t" {
			t.Errorf("message %+v", e.message)
		}
		if data, ok := sent.Values["data"].(string); ok && string(e.message.Data) != data {
			t.Errorf("data %q of %q", e.message.Data, data)
		}
		if next := after(id); len(next) < len(id)-20 {
			t.Errorf("%q is after %q", next, id)
		}
	})
}

func TestAfter(t *testing.T) {
	for id, want := range map[string]string{"1-0": "1-1", "17-9": "17-10", "1-18446744073709551615": "1-18446744073709551615", "": ""} {
		if got := after(id); got != want {
			t.Errorf("after %q comes %q, want %q", id, got, want)
		}
	}
}
