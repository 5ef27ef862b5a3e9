package placement

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
)

// three is the ring of the reference's vectors.
func three() *Ring {
	return NewRing([]string{"10.0.0.1:50002", "10.0.0.2:50002", "10.0.0.3:50002"}, 100)
}

// TestRingVectors: what all parties of a mesh have to agree on.
func TestRingVectors(t *testing.T) {
	ring := three()
	for _, v := range []struct {
		id       string
		position uint64
		host     string
	}{
		{"1", 11971653999726161180, "10.0.0.3:50002"},
		{"2", 6310439919022701253, "10.0.0.3:50002"},
		{"3", 17332574438168426095, "10.0.0.2:50002"},
		{"actor-1", 10015260465285814958, "10.0.0.1:50002"},
		{"actor-2", 2764141328702138918, "10.0.0.3:50002"},
		{"alice", 12857628797765604516, "10.0.0.3:50002"},
		{"bob", 5764330996972208845, "10.0.0.1:50002"},
	} {
		if got := Position(v.id); got != v.position {
			t.Errorf("position of %q: %d, want %d", v.id, got, v.position)
		}
		if got := ring.Host(v.id); got != v.host {
			t.Errorf("host of %q: %s, want %s", v.id, got, v.host)
		}
	}
	if got := Position("10.0.0.1:500020"); got != 7120362376346592644 {
		t.Errorf("the first place of a host: %d", got)
	}
	if len(ring.places) != 300 {
		t.Fatalf("%d places", len(ring.places))
	}
	for name, want := range map[string]struct {
		place    place
		position uint64
		host     string
	}{
		"lowest":  {ring.places[0], 124205688661879367, "10.0.0.3:50002"},
		"highest": {ring.places[299], 18185047526332531417, "10.0.0.1:50002"},
	} {
		if want.place.position != want.position || ring.hosts[want.place.host] != want.host {
			t.Errorf("%s place: %d of %s", name, want.place.position, ring.hosts[want.place.host])
		}
	}
}

// TestRingCapture: which of two real sidecars served each of 200 actors.
func TestRingCapture(t *testing.T) {
	text, err := os.ReadFile("testdata/host_of-1.18.3.json")
	if err != nil {
		t.Fatal(err)
	}
	var served map[string]string
	if err := json.Unmarshal(text, &served); err != nil {
		t.Fatal(err)
	}
	if len(served) != 200 {
		t.Fatalf("%d actors", len(served))
	}
	ring := NewRing([]string{"127.0.0.1:50002", "127.0.0.1:50012"}, 100)
	for id, host := range served {
		if got := ring.Host(id); got != host {
			t.Errorf("%s: %s, want %s", id, got, host)
		}
	}
}

func TestRingWithoutHosts(t *testing.T) {
	for name, ring := range map[string]*Ring{"nil": nil, "empty": NewRing(nil, 100)} {
		if ring.Host("a") != "" || ring.Ranges("h") != nil || len(ring.Hosts()) != 0 {
			t.Errorf("%s: owns something", name)
		}
	}
}

// TestRanges: the ranges of all hosts are the whole ring, each position in one of them, that of its owner.
func TestRanges(t *testing.T) {
	for hosts := 1; hosts <= 7; hosts++ {
		var names []string
		for i := range hosts {
			names = append(names, fmt.Sprintf("10.0.0.%d:50002", i))
		}
		ring := NewRing(names, 1+rand.IntN(20))
		positions := []uint64{0, 1<<64 - 1}
		for _, p := range ring.places {
			positions = append(positions, p.position-1, p.position, p.position+1)
		}
		covered := uint64(0)
		for _, name := range names {
			for i, r := range ring.Ranges(name) {
				if r.First > r.Last {
					t.Fatalf("range %d of %s: %v", i, name, r)
				}
				covered += r.Last - r.First + 1
			}
			for _, position := range positions {
				within := false
				for _, r := range ring.Ranges(name) {
					within = within || r.Contains(position)
				}
				if within != (ring.Owner(position) == name) {
					t.Errorf("%d hosts: %d belongs to %s, in a range of %s: %t", hosts, position, ring.Owner(position), name, within)
				}
			}
		}
		if covered != 0 { // 2^64
			t.Errorf("%d hosts: the ranges leave %d positions out", hosts, -covered)
		}
	}
}
