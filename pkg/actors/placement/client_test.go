package placement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	placementv1 "github.com/daprd/daprd/pkg/proto/placement/v1"
)

// notes is a Hosting that writes down what is asked of it.
type notes struct {
	drained, settled [][]string
	halts            int
	drain            func(ctx context.Context)
}

func (n *notes) Drain(ctx context.Context, types []string, _ func(string, string) bool) {
	n.drained = append(n.drained, types)
	if n.drain != nil {
		n.drain(ctx)
	}
}
func (n *notes) Halt(context.Context)   { n.halts++ }
func (n *notes) Settled(types []string) { n.settled = append(n.settled, types) }

// stream takes what a session says.
type stream struct {
	grpc.ClientStream
	said []*placementv1.Host
}

func (s *stream) Send(h *placementv1.Host) error {
	s.said = append(s.said, h)
	return nil
}
func (s *stream) Recv() (*placementv1.PlacementOrder, error) { panic("nobody listens") }

// newSession is one that a test gives orders to.
func newSession(n *notes) (*session, *stream) {
	log, _ := logtest.NewNullLogger()
	c := NewClient(Deps{AppID: "a", Namespace: "default", Hosting: n, Log: log})
	self := "10.0.0.1:50002"
	c.self.Store(&self)
	said := &stream{}
	s := &session{client: c, self: self, stream: said, bound: time.NewTimer(time.Hour)}
	return s, said
}

// tables has a host for each letter of the types' texts.
func tables(types map[string]string) *placementv1.PlacementTables {
	sent := &placementv1.PlacementTables{Entries: map[string]*placementv1.PlacementTable{}, ReplicationFactor: 10}
	for name, letters := range types {
		hosts := map[string]*placementv1.Host{}
		for _, letter := range letters {
			hosts[fmt.Sprintf("10.0.0.%d:50002", letter-'a'+1)] = &placementv1.Host{Id: string(letter)}
		}
		sent.Entries[name] = &placementv1.PlacementTable{LoadMap: hosts}
	}
	return sent
}

func order(operation string, version uint64, types map[string]string) *placementv1.PlacementOrder {
	o := &placementv1.PlacementOrder{Operation: operation, Version: version}
	if types != nil {
		o.Tables = tables(types)
	}
	return o
}

// TestOrders: what is followed, and what resets the stream.
func TestOrders(t *testing.T) {
	one, two := map[string]string{"T": "ab", "U": "a"}, map[string]string{"T": "b", "V": "a"}
	tests := map[string]struct {
		orders           []*placementv1.PlacementOrder
		said             string
		drained, settled [][]string
		reset            bool
	}{
		"two rounds": {[]*placementv1.PlacementOrder{order(lock, 1, nil), order(update, 1, one), order(unlock, 1, nil), order(lock, 2, nil), order(update, 2, two), order(unlock, 2, nil)},
			"LOCK 1 UPDATE 1 UNLOCK 1 LOCK 2 UPDATE 2 UNLOCK 2 ", [][]string{{"T", "U"}}, [][]string{{"T", "U"}, {"T", "U", "V"}}, false},
		"nothing changes": {[]*placementv1.PlacementOrder{order(lock, 1, nil), order(update, 1, one), order(unlock, 1, nil), order(lock, 2, nil), order(update, 2, one), order(unlock, 2, nil)},
			"LOCK 1 UPDATE 1 UNLOCK 1 LOCK 2 UPDATE 2 UNLOCK 2 ", nil, [][]string{{"T", "U"}, nil}, false},
		"a round that is given up": {[]*placementv1.PlacementOrder{order(lock, 1, nil), order(update, 1, one), order(lock, 2, nil), order(unlock, 1, nil), order(update, 2, two), order(unlock, 2, nil)},
			"LOCK 1 UPDATE 1 LOCK 2 UPDATE 2 UNLOCK 2 ", [][]string{{"T", "U"}}, [][]string{{"T", "U", "V"}}, false},
		"an unlock alone":     {[]*placementv1.PlacementOrder{order(unlock, 1, nil)}, "", nil, nil, false},
		"unlock after lock":   {[]*placementv1.PlacementOrder{order(lock, 1, nil), order(unlock, 1, nil)}, "LOCK 1 ", nil, nil, false},
		"no lock before":      {[]*placementv1.PlacementOrder{order(update, 1, one)}, "", nil, nil, true},
		"an earlier table":    {[]*placementv1.PlacementOrder{order(lock, 2, nil), order(update, 1, one)}, "LOCK 2 ", nil, nil, true},
		"an earlier lock":     {[]*placementv1.PlacementOrder{order(lock, 2, nil), order(lock, 1, nil)}, "LOCK 2 ", nil, nil, true},
		"no table":            {[]*placementv1.PlacementOrder{order(lock, 1, nil), order(update, 1, nil), order(unlock, 1, nil)}, "LOCK 1 UPDATE 1 UNLOCK 1 ", nil, [][]string{nil}, false},
		"an order of another": {[]*placementv1.PlacementOrder{order("dance", 1, nil)}, "", nil, nil, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			n := &notes{}
			s, said := newSession(n)
			var err error
			for _, o := range test.orders {
				if err = s.follow(t.Context(), o); err != nil {
					break
				}
			}
			var text string
			for _, h := range said.said {
				text += fmt.Sprintf("%s %d ", h.GetOperation(), h.GetVersion())
			}
			if text != test.said || (err != nil) != test.reset {
				t.Errorf("said %q, want %q; error %v", text, test.said, err)
			}
			if diff := cmp.Diff(test.drained, n.drained); diff != "" {
				t.Error("drained: -want +got:\n" + diff)
			}
			if diff := cmp.Diff(test.settled, n.settled); diff != "" {
				t.Error("settled: -want +got:\n" + diff)
			}
		})
	}
}

// TestBound: a look-up without a table ends after 30 s.
func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSession(&notes{})
		began := time.Now()
		_, err := s.client.Owner(t.Context(), "T", "1", func() {})
		if !errors.Is(err, ErrNoTable) || time.Since(began) != longestWait {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

// TestPulse: a process that stood still, and a placement that is silent, cost the table.
func TestPulse(t *testing.T) {
	for name, test := range map[string]struct {
		pass  time.Duration
		every time.Duration
		runs  bool // the process is seen to run all the time
		stale bool
	}{
		"all is well":      {standstill, 0, false, false},
		"it stood still":   {standstill + 1, 0, false, true},
		"it ran":           {time.Hour, 0, true, false},
		"placement speaks": {4 * time.Second, 2 * time.Second, true, false},
		"placement silent": {4*time.Second + 1, 2 * time.Second, true, true},
		"it does not say":  {time.Hour, 0, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Duration(1)
			p := newPulse(func() time.Duration { return now })
			p.every.Store(int64(test.every))
			now += test.pass
			if test.runs {
				p.ran.Store(int64(now))
			}
			if err := p.check(); (err != nil) != test.stale {
				t.Errorf("check: %v", err)
			}
		})
	}
}

// TestWatch: the watch goes on while the process runs, and ends when it stood still.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var asleep atomic.Int64
		p := newPulse(func() time.Duration { return time.Since(began) + time.Duration(asleep.Load()) })
		over := make(chan error, 1)
		go func() { over <- p.watch(t.Context()) }()
		time.Sleep(time.Minute)
		if p.check() != nil || len(over) != 0 {
			t.Fatal("the table is lost although all is well")
		}
		asleep.Store(int64(3 * time.Second)) // the machine sleeps: Go's clock does not see it
		if !errors.Is(p.check(), errStoodStill) {
			t.Error("what has begun after the standstill goes on")
		}
		if err := <-over; !errors.Is(err, errStoodStill) {
			t.Error(err)
		}
	})
}

// TestAddresses: the list goes round, and names are resolved each time.
func TestAddresses(t *testing.T) {
	a, err := NewAddresses(" one:1, 10.0.0.1:2 ,,unknown:3", insecure.NewCredentials())
	if err != nil {
		t.Fatal(err)
	}
	a.list = []string{"one:1", "10.0.0.1:2", "unknown:3"}
	ips := []string{"10.1.1.1", "fd00::1"}
	a.resolve = func(_ context.Context, host string) ([]string, error) {
		if host == "one" {
			return ips, nil
		}
		return nil, errors.New("no such host")
	}
	var got []string
	for range 7 {
		s, last, err := a.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(s.Address, " ", last))
		ips = []string{"10.2.2.2"}
	}
	want := []string{"10.1.1.1:1 false", "[fd00::1]:1 false", "10.0.0.1:2 false", "unknown:3 true", "10.2.2.2:1 false", "10.0.0.1:2 false", "unknown:3 true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("-want +got:\n" + diff)
	}
	for _, list := range []string{"", " , ", "noport", ":50005", "host:"} {
		if _, err := NewAddresses(list, insecure.NewCredentials()); err == nil {
			t.Errorf("%q is accepted", list)
		}
	}
}

func TestIsSelf(t *testing.T) {
	for _, v := range []struct {
		self, host string
		want       bool
	}{
		{"10.0.0.1:1", "10.0.0.1:1", true}, {"10.0.0.1:1", "10.0.0.2:1", false}, {"127.0.0.1:1", "localhost:1", true}, {"[::1]:1", "127.0.0.1:1", true},
		{"127.0.0.1:1", "127.0.0.1:2", false}, {"10.0.0.1:1", "127.0.0.1:1", false}, {"127.0.0.1:1", "10.0.0.1:1", false}, {"nothing", "localhost:1", false},
	} {
		if got := isSelf(v.self, v.host); got != v.want {
			t.Errorf("%s is %s: %t", v.host, v.self, got)
		}
	}
}

// TestTableBounds: what no memory would hold is refused.
func TestTableBounds(t *testing.T) {
	for _, factor := range []int64{-1, maxFactor + 1} {
		if _, err := newTable(1, &placementv1.PlacementTables{ReplicationFactor: factor}, nil); err == nil {
			t.Errorf("a factor of %d is accepted", factor)
		}
	}
	sent := &placementv1.PlacementTables{ReplicationFactor: maxFactor, Entries: map[string]*placementv1.PlacementTable{"T": {LoadMap: map[string]*placementv1.Host{}}}}
	for i := range maxPlaces/maxFactor + 1 {
		sent.Entries["T"].LoadMap[fmt.Sprint(i)] = nil
	}
	if _, err := newTable(1, sent, nil); err == nil {
		t.Error("more places than the bound are accepted")
	}
}

// TestShared: types with the same hosts share a ring, and what does not change is kept.
func TestShared(t *testing.T) {
	one, err := newTable(1, tables(map[string]string{"T": "ab", "U": "ab", "V": "a"}), nil)
	if err != nil {
		t.Fatal(err)
	}
	two, err := newTable(2, tables(map[string]string{"T": "ab", "U": "a", "W": "a"}), one)
	if err != nil {
		t.Fatal(err)
	}
	if one.types["T"].ring != one.types["U"].ring || two.types["T"] != one.types["T"] || two.types["U"].ring != two.types["W"].ring {
		t.Error("rings are made twice")
	}
	if got := changes(one, two); !slices.Equal(got, []string{"U", "V", "W"}) {
		t.Errorf("changed: %v", got)
	}
}

// FuzzOrders: whatever placement orders, the client does not break, and acknowledges no update without its lock.
func FuzzOrders(f *testing.F) {
	f.Add([]byte{0, 1, 1, 1, 2, 1})
	f.Add([]byte{0, 2, 1, 1, 2, 9, 3, 0, 0, 1, 0, 2, 1, 2, 2, 2})
	f.Fuzz(func(t *testing.T, script []byte) {
		s, said := newSession(&notes{})
		for len(script) >= 2 {
			types := map[string]string{}
			if script[1]%2 == 0 {
				types["T"] = "ab"
			}
			types["U"] = string("abcdef"[script[1]%6])
			o := order([]string{lock, update, unlock, "dance"}[script[0]%4], uint64(script[1]%4), types)
			script = script[2:]
			if s.follow(t.Context(), o) != nil {
				break
			}
			soon, cancel := context.WithCancel(t.Context())
			cancel()
			_, _ = s.client.Owner(soon, "U", "1", func() {})
		}
		phase := placementv1.HostOperation_UNLOCK
		for _, h := range said.said {
			switch h.GetOperation() {
			case placementv1.HostOperation_UPDATE:
				if phase != placementv1.HostOperation_LOCK && phase != placementv1.HostOperation_UPDATE {
					t.Fatalf("UPDATE after %s", phase)
				}
			case placementv1.HostOperation_UNLOCK:
				if phase != placementv1.HostOperation_UPDATE {
					t.Fatalf("UNLOCK after %s", phase)
				}
			}
			phase = h.GetOperation()
		}
	})
}

// BenchmarkTable is what a sidecar does with the table of 500 hosts of three types when one more has come.
func BenchmarkTable(b *testing.B) {
	sent := &placementv1.PlacementTables{Entries: map[string]*placementv1.PlacementTable{}}
	for _, name := range []string{"T", "U", "V"} {
		sent.Entries[name] = &placementv1.PlacementTable{LoadMap: map[string]*placementv1.Host{}}
		for i := range 500 {
			sent.Entries[name].LoadMap[fmt.Sprintf("10.0.%d.%d:50002", i/250, i%250)] = &placementv1.Host{Id: "a"}
		}
	}
	before, err := newTable(1, sent, nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, entry := range sent.Entries {
		entry.LoadMap["10.0.9.9:50002"] = &placementv1.Host{Id: "a"}
	}
	for b.Loop() {
		if _, err := newTable(2, sent, before); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOwner is one look-up of an actor of one's own among 500 hosts.
func BenchmarkOwner(b *testing.B) {
	s, _ := newSession(&notes{})
	types := &placementv1.PlacementTables{Entries: map[string]*placementv1.PlacementTable{"T": {LoadMap: map[string]*placementv1.Host{}}}}
	for i := range 500 {
		types.Entries["T"].LoadMap[fmt.Sprintf("10.0.%d.%d:50002", i/250, i%250)] = &placementv1.Host{Id: "a"}
	}
	table, err := newTable(1, types, nil)
	if err != nil {
		b.Fatal(err)
	}
	s.client.table = table
	for b.Loop() {
		s.client.pulse.begin()
		if _, err := s.client.Owner(b.Context(), "T", "actor-1", func() {}); err != nil {
			b.Fatal(err)
		}
	}
}
