package mdns

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMemory(t *testing.T) {
	type step struct {
		after time.Duration
		hear  sighting
		want  []string
		stale bool
	}
	four := func(address string) sighting { return sighting{appID: "app", address: address} }
	six := func(address string) sighting { return sighting{appID: "app", address: address, ipv6: true} }
	bye := func(address string) sighting { return sighting{appID: "app", address: address, goodbye: true} }
	relayed := func(address string) sighting {
		return sighting{appID: "app", address: address, secondHand: true}
	}
	none := sighting{appID: "nobody"}
	cases := map[string][]step{
		"grows old": {
			{0, four("a"), []string{"a"}, false},
			{refreshAge - 1, none, []string{"a"}, false},
			{1, none, []string{"a"}, true},
			{addressLife - refreshAge - 1, none, []string{"a"}, true},
			{1, none, nil, true},
		},
		"heard again": {
			{0, four("a"), []string{"a"}, false},
			{addressLife - 1, four("a"), []string{"a"}, true},
			{addressLife - 1, none, []string{"a"}, true},
		},
		"IPv4 first": {
			{0, six("s"), []string{"s"}, false},
			{0, four("a"), []string{"a"}, false},
			{0, four("b"), []string{"a", "b"}, false},
			{0, bye("a"), []string{"b"}, false},
			{0, bye("b"), []string{"s"}, false},
		},
		"goodbye": {
			{0, bye("a"), nil, false},
			{0, four("a"), []string{"a"}, false},
			{time.Second, bye("a"), nil, false},
			{time.Millisecond, relayed("a"), nil, false},
			{0, four("a"), []string{"a"}, false},
			{0, bye("a"), nil, false},
			{2 * browseTime, relayed("a"), []string{"a"}, false},
		},
		"not asked for": {
			{0, sighting{appID: "other", address: "a"}, nil, false},
		},
	}
	for name, steps := range cases {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1000, 0)
			m := memory{}
			m.ask("app", now)
			for i, step := range steps {
				now = now.Add(step.after)
				m.hear(step.hear, now)
				got, stale := m.addresses("app", now)
				if diff := cmp.Diff(step.want, got); diff != "" || stale != step.stale {
					t.Errorf("step %d: stale %v, %s", i, stale, diff)
				}
			}
			if len(m) != 1 {
				t.Errorf("%d apps, one was asked for", len(m))
			}
		})
	}
}

func TestMemoryIsBounded(t *testing.T) {
	now := time.Unix(1000, 0)
	m := memory{}
	for i := range maxApps + 10 {
		m.ask(fmt.Sprint(i), now.Add(time.Duration(i)))
	}
	if len(m) != maxApps || m["9"] != nil || m["10"] == nil {
		t.Errorf("%d apps; the oldest were to go", len(m))
	}
	for i := range maxAddresses + 10 {
		m.hear(sighting{appID: "20", address: fmt.Sprint(i)}, now)
	}
	if got, _ := m.addresses("20", now); len(got) != maxAddresses {
		t.Errorf("%d addresses", len(got))
	}
}
