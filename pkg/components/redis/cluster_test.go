package redis

import (
	"testing"

	"github.com/go-redis/redis/v8"
	"github.com/google/go-cmp/cmp"
)

func TestReadSlots(t *testing.T) {
	cases := map[string]struct {
		answer []any
		want   []redis.ClusterSlot
		err    string
	}{
		"Redis 4": {[]any{[]any{int64(0), int64(9), []any{"h", int64(1), "id"}, []any{"r", int64(2), "id"}}},
			[]redis.ClusterSlot{{Start: 0, End: 9, Nodes: []redis.ClusterNode{{Addr: "h:1"}, {Addr: "r:2"}}}}, ""},
		"Redis 7": {[]any{[]any{int64(0), int64(9), []any{"::1", int64(1), "id", []any{"hostname", "h"}}}},
			[]redis.ClusterSlot{{Start: 0, End: 9, Nodes: []redis.ClusterNode{{Addr: "[::1]:1"}}}}, ""},
		"host unknown": {[]any{[]any{int64(0), int64(9), []any{nil, int64(1)}, []any{"?", int64(2)}, []any{"", int64(3)}}},
			[]redis.ClusterSlot{{Start: 0, End: 9, Nodes: []redis.ClusterNode{{Addr: "asked:1"}, {Addr: "asked:2"}, {Addr: "asked:3"}}}}, ""},
		"no node":    {[]any{[]any{int64(0), int64(9)}}, nil, "redis cluster: CLUSTER SLOTS has an entry of 2 fields, want 3 or more"},
		"no list":    {[]any{"x"}, nil, "redis cluster: CLUSTER SLOTS has an entry of 0 fields, want 3 or more"},
		"no numbers": {[]any{[]any{"a", "b", "c"}}, nil, "redis cluster: CLUSTER SLOTS has an entry without numbers"},
		"no port":    {[]any{[]any{int64(0), int64(9), []any{"h", "x"}}}, nil, "redis cluster: CLUSTER SLOTS has a node without a port"},
		"half node":  {[]any{[]any{int64(0), int64(9), []any{"h"}}}, nil, "redis cluster: CLUSTER SLOTS has a node of 1 fields, want 2 or more"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := readSlots(c.answer, "asked:7")
			if errorText(err) != c.err {
				t.Fatalf("error %v, want %q", err, c.err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
