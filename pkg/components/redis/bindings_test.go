package redis

import (
	"strings"
	"testing"
	"time"

	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/bindings/bindingstest"
	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/components/redis/redistest"
)

var _ components.Factory[bindings.Output] = NewOutputBinding

func TestBinding(t *testing.T) {
	single := redistest.Start(t)
	nodes := redistest.StartCluster(t)
	t.Run("node", func(t *testing.T) { testBinding(t, single.Address) })
	t.Run("cluster", func(t *testing.T) { testBinding(t, nodes[0].Address, "redisType", "cluster") })
}

func TestBindingConformance(t *testing.T) {
	opened, err := NewOutputBinding(t.Context(), spec(redistest.Start(t).Address))
	if err != nil {
		t.Fatal(err)
	}
	defer opened.(*binding).Close()
	ask := func(operation string, metadata ...string) bindings.Request {
		all := map[string]string{"key": "k"}
		for i := 0; i < len(metadata); i += 2 {
			all[metadata[i]] = metadata[i+1]
		}
		return bindings.Request{Operation: operation, Data: []byte("1"), Metadata: all}
	}
	bindingstest.Output(t, opened, ask("create"), ask("increment", "ttlInSeconds", "60"), ask("get"), ask("get", "delete", "true"), ask("delete"))
}

func testBinding(t *testing.T, address string, properties ...string) {
	opened, err := NewOutputBinding(t.Context(), spec(address, properties...))
	if err != nil {
		t.Fatal(err)
	}
	b := opened.(*binding)
	defer b.Close()
	ttl := func(key string) time.Duration {
		d, err := b.client.TTL(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	// want is what get answers afterwards.
	steps := []struct {
		name, operation, data string
		metadata              map[string]string
		answer                string
		want                  string
		ttl                   bool
	}{
		{"create", "create", `"a"`, map[string]string{"key": "k"}, "", `"a"`, false},
		{"create with a time to live", "create", "\x00\xff", map[string]string{"key": "k", "ttlInSeconds": "60"}, "", "\x00\xff", true},
		{"create takes the time to live away", "create", "b", map[string]string{"key": "k"}, "", "b", false},
		{"get", "get", "", map[string]string{"key": "k"}, "b", "b", false},
		{"get, delete false", "get", "", map[string]string{"key": "k", "delete": "false"}, "b", "b", false},
		{"get and delete", "get", "", map[string]string{"key": "k", "delete": "true"}, "b", "", false},
		{"get and delete what is gone", "get", "", map[string]string{"key": "k", "delete": "true"}, "", "", false},
		{"get what is gone", "get", "", map[string]string{"key": "k"}, "", "", false},
		{"increment", "increment", "", map[string]string{"key": "k"}, "", "1", false},
		{"increment with a time to live", "increment", "", map[string]string{"key": "k", "ttlInSeconds": "60"}, "", "2", true},
		{"delete", "delete", "", map[string]string{"key": "k"}, "", "", false},
		{"delete what is gone", "delete", "", map[string]string{"key": "k"}, "", "", false},
	}
	for _, c := range steps {
		answer, err := b.Invoke(t.Context(), &bindings.Request{Operation: c.operation, Data: []byte(c.data), Metadata: c.metadata})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if (answer != nil) != (c.operation == "get") || answer != nil && string(answer.Data) != c.answer {
			t.Errorf("%s: answer %v", c.name, answer)
		}
		after, err := b.Invoke(t.Context(), &bindings.Request{Operation: "get", Metadata: map[string]string{"key": "k"}})
		if err != nil || string(after.Data) != c.want {
			t.Errorf("%s: afterwards %q, %v, want %q", c.name, after.Data, err, c.want)
		}
		if left := ttl("k"); (left > 0) != c.ttl {
			t.Errorf("%s: time to live %v", c.name, left)
		}
	}
}

func TestBindingRefusals(t *testing.T) {
	server := redistest.Start(t)
	opened, err := NewOutputBinding(t.Context(), componentstest.FromReadme(t, "bindings.redis", "localhost:6379", server.Address))
	if err != nil {
		t.Fatal(err)
	}
	b := opened.(*binding)
	defer b.Close()
	if err := b.client.HSet(t.Context(), "hash", "f", "v").Err(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		operation string
		metadata  map[string]string
		want      string
	}{
		"no key":      {"get", nil, "metadata key is missing"},
		"operation":   {"list", map[string]string{"key": "k"}, "create, get, delete, increment"},
		"ttl no time": {"create", map[string]string{"key": "k", "ttlInSeconds": "soon"}, "ttlInSeconds"},
		"ttl zero":    {"create", map[string]string{"key": "k", "ttlInSeconds": "0"}, "1 or more"},
		"other type":  {"get", map[string]string{"key": "hash"}, "WRONGTYPE"},
	} {
		_, err := b.Invoke(t.Context(), &bindings.Request{Operation: c.operation, Metadata: c.metadata})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	if err := b.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := NewOutputBinding(t.Context(), spec("127.0.0.1:1", "redisMaxRetries", "-1", "redisPassword", "hush")); err == nil ||
		!strings.Contains(err.Error(), "redis binding: error connecting to redis at 127.0.0.1:1") || strings.Contains(err.Error(), "hush") {
		t.Errorf("error %v", err)
	}
}
