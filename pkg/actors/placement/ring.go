package placement

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sort"
	"strconv"

	"golang.org/x/crypto/blake2b"
)

// DefaultReplicationFactor is how many places a host has in a ring, where placement does not say (Dapr's default).
const DefaultReplicationFactor = 100

// Position is where a key stands in every ring: the first eight bytes of its BLAKE2b-512, little-endian. All parties of a
// mesh have to agree on it. An actor's key is its id alone; its type chooses the ring.
func Position(key string) uint64 {
	sum := blake2b.Sum512([]byte(key))
	return binary.LittleEndian.Uint64(sum[:8])
}

// Ring says which host of a type owns a position: the one whose place is the first at or after it, around the end. It
// never changes.
type Ring struct {
	// places are in order; hosts names whose they are.
	places []place
	hosts  []string
}

// place is one of a host's.
type place struct {
	position uint64
	host     uint32
}

// NewRing places each host factor times. The names of the hosts differ from each other.
func NewRing(hosts []string, factor int) *Ring {
	return newRing(hosts, func(host string) []uint64 { return positions(host, factor) })
}

// positions are those of a host: of its name with 0, 1, 2 and so on behind it.
func positions(host string, factor int) []uint64 {
	all := make([]uint64, factor)
	key := []byte(host)
	for i := range all {
		sum := blake2b.Sum512(strconv.AppendInt(key, int64(i), 10))
		all[i] = binary.LittleEndian.Uint64(sum[:8])
	}
	return all
}

func newRing(hosts []string, of func(host string) []uint64) *Ring {
	r := &Ring{hosts: slices.Sorted(slices.Values(hosts))}
	for i, host := range r.hosts {
		for _, position := range of(host) {
			r.places = append(r.places, place{position, uint32(i)})
		}
	}
	// Where two share a position, which nobody will live to see, the last of the hosts in the order of their names has it.
	slices.SortFunc(r.places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.position, b.position), cmp.Compare(b.host, a.host))
	})
	return r
}

// Hosts are the names of the hosts, in order.
func (r *Ring) Hosts() []string {
	if r == nil {
		return nil
	}
	return r.hosts
}

// Host is the owner of an actor, "" where there is no host.
func (r *Ring) Host(actorID string) string { return r.Owner(Position(actorID)) }

// Owner is the owner of a position, "" where there is no host.
func (r *Ring) Owner(position uint64) string {
	if r == nil || len(r.places) == 0 {
		return ""
	}
	i := sort.Search(len(r.places), func(i int) bool { return r.places[i].position >= position })
	if i == len(r.places) {
		i = 0
	}
	return r.hosts[r.places[i].host]
}

// Range is a part of the ring, both ends included; First is never above Last.
type Range struct{ First, Last uint64 }

// Contains says whether a position is in it.
func (r Range) Contains(position uint64) bool { return r.First <= position && position <= r.Last }

// Ranges are the parts of the ring that a host owns, in order; neighbours are one.
func (r *Ring) Ranges(host string) (all []Range) {
	if r == nil || len(r.places) == 0 {
		return nil
	}
	add := func(first, last uint64) {
		if n := len(all); n > 0 && all[n-1].Last+1 == first {
			all[n-1].Last = last
			return
		}
		all = append(all, Range{first, last})
	}
	next := uint64(0)
	for i, p := range r.places {
		if i > 0 && p.position == r.places[i-1].position {
			continue
		}
		if r.hosts[p.host] == host {
			add(next, p.position)
		}
		next = p.position + 1
	}
	// What is behind the last place belongs to the first; next is 0 again if nothing is.
	if next != 0 && r.hosts[r.places[0].host] == host {
		add(next, 1<<64-1)
	}
	return all
}
