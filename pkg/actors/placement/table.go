package placement

import (
	"fmt"
	"maps"
	"net"
	"slices"

	placementv1 "github.com/daprd/daprd/pkg/proto/placement/v1"
)

// The bounds of a table from outside: places in all rings together, which is 256 MiB of memory, and those of a host.
const (
	maxPlaces = 16 << 20
	maxFactor = 10_000
)

// table is who hosts what. It never changes.
type table struct {
	version uint64
	factor  int
	types   map[string]*hosts
	// spots remembers the places of each host in its rings.
	spots map[string][]uint64
}

// hosts are those of a type: their ring, and the application of each.
type hosts struct {
	ring *Ring
	apps map[string]string
}

// owner is the name and the application of an actor's host, "" where there is none.
func (h *hosts) owner(actorID string) (name, appID string) {
	if h == nil {
		return "", ""
	}
	name = h.ring.Host(actorID)
	return name, h.apps[name]
}

func (h *hosts) has(name string) bool {
	if h == nil {
		return false
	}
	_, found := h.apps[name]
	return found
}

func (h *hosts) ringOf() *Ring {
	if h == nil {
		return nil
	}
	return h.ring
}

// newTable reads what placement has sent. What is as it was before is kept, and types with the same hosts share a ring.
func newTable(version uint64, sent *placementv1.PlacementTables, before *table) (*table, error) {
	t := &table{version: version, factor: int(sent.GetReplicationFactor()), types: make(map[string]*hosts, len(sent.GetEntries())), spots: map[string][]uint64{}}
	if t.factor == 0 {
		t.factor = DefaultReplicationFactor
	}
	if t.factor < 0 || t.factor > maxFactor {
		return nil, fmt.Errorf("placement wants %d places for a host; 1 to %d are possible", t.factor, maxFactor)
	}
	if before == nil || before.factor != t.factor {
		before = &table{}
	}
	places := 0
	rings := map[string]*Ring{}
	for name, entry := range sent.GetEntries() {
		apps := make(map[string]string, len(entry.GetLoadMap()))
		for host, about := range entry.GetLoadMap() {
			apps[host] = about.GetId()
		}
		if places += len(apps) * t.factor; places > maxPlaces {
			return nil, fmt.Errorf("the table of placement has more than %d places", maxPlaces)
		}
		if same := before.types[name]; same != nil && maps.Equal(same.apps, apps) {
			t.types[name] = same
			continue
		}
		names := slices.Sorted(maps.Keys(apps))
		key := fmt.Sprintf("%q", names)
		if rings[key] == nil {
			rings[key] = newRing(names, func(host string) []uint64 { return t.placesOf(host, before) })
		}
		t.types[name] = &hosts{rings[key], apps}
	}
	for _, h := range t.types {
		for host := range h.apps {
			t.placesOf(host, before)
		}
	}
	return t, nil
}

func (t *table) placesOf(host string, before *table) []uint64 {
	if t.spots[host] == nil {
		if t.spots[host] = before.spots[host]; t.spots[host] == nil {
			t.spots[host] = positions(host, t.factor)
		}
	}
	return t.spots[host]
}

// changes are the types whose hosts differ between two tables; either may be nil.
func changes(before, after *table) (types []string) {
	if before == nil {
		before = &table{}
	}
	for name, h := range after.types {
		if h != before.types[name] {
			types = append(types, name)
		}
	}
	for name := range before.types {
		if after.types[name] == nil {
			types = append(types, name)
		}
	}
	slices.Sort(types)
	return types
}

// says whether a host is in the table with exactly the types, which are in order.
func (t *table) says(self string, types []string) bool {
	for _, name := range types {
		if !t.types[name].has(self) {
			return false
		}
	}
	for name, h := range t.types {
		if h.has(self) && !slices.Contains(types, name) {
			return false
		}
	}
	return true
}

// isSelf says whether the address of a host is this sidecar's: they are equal, or both are loopback addresses with one
// port (Dapr 1.18).
func isSelf(self, host string) bool {
	if self == host {
		return true
	}
	selfHost, selfPort, err := net.SplitHostPort(self)
	if err != nil || !isLoopback(selfHost) {
		return false
	}
	otherHost, otherPort, err := net.SplitHostPort(host)
	return err == nil && otherPort == selfPort && isLoopback(otherHost)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
