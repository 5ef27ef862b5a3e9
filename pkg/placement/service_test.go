package placement

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	placementv1 "github.com/daprd/daprd/pkg/proto/placement/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// trusted are settings with which rounds begin at once.
func trusted() Settings { return Settings{Quarantine: -1} }

// serve has a Service lead until the test ends, on an address that it gives.
func serve(t testing.TB, settings Settings, deps Deps) (s *Service, address string) {
	t.Helper()
	if deps.Log == nil {
		deps.Log, _ = logtest.NewNullLogger()
	}
	s = NewService(settings, deps)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(s.ServerOptions()...)
	placementv1.RegisterPlacementServer(server, s)
	ctx, stop := context.WithCancel(context.Background())
	served, led := make(chan struct{}), make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	go func() { defer close(led); _ = s.Lead(ctx) }()
	t.Cleanup(func() {
		stop()
		<-led
		server.Stop()
		<-served
		s.Wait()
	})
	until(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.leading != nil // until then streams are refused
	})
	return s, listener.Addr().String()
}

// sidecar is a stream of a test.
type sidecar struct {
	t      testing.TB
	name   string
	id, ns string
	stream grpc.BidiStreamingClient[placementv1.Host, placementv1.PlacementOrder]
	conn   *grpc.ClientConn
}

func dial(t testing.TB, address string) *sidecar {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	stream, err := placementv1.NewPlacementClient(conn).ReportDaprStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &sidecar{t: t, stream: stream, conn: conn}
}

// join opens the stream of an application, named after it, in the namespace default.
func join(t testing.TB, address, id string, types ...string) *sidecar {
	t.Helper()
	s := dial(t, address)
	s.name, s.id, s.ns = id+":50002", id, "default"
	s.report(types...)
	return s
}

func (s *sidecar) report(types ...string) {
	s.t.Helper()
	s.send(&placementv1.Host{Name: s.name, Id: s.id, Namespace: s.ns, Entities: types, Operation: placementv1.HostOperation_REPORT})
}

// send may find that the server has ended the stream already; why is the next order's to tell.
func (s *sidecar) send(h *placementv1.Host) {
	s.t.Helper()
	if err := s.stream.Send(h); err != nil && !errors.Is(err, io.EOF) {
		s.t.Fatal(err)
	}
}

// next is the next order: its operation and version.
func (s *sidecar) next() *placementv1.PlacementOrder {
	s.t.Helper()
	order, err := s.stream.Recv()
	if err != nil {
		s.t.Fatalf("%s: %v", s.id, err)
	}
	return order
}

func (s *sidecar) acknowledge(operation placementv1.HostOperation, version uint64) {
	s.t.Helper()
	s.send(&placementv1.Host{Id: s.id, Namespace: s.ns, Operation: operation, Version: proto.Uint64(version)})
}

var answers = map[string]placementv1.HostOperation{"lock": placementv1.HostOperation_LOCK, "update": placementv1.HostOperation_UPDATE,
	"unlock": placementv1.HostOperation_UNLOCK}

// step takes the next order, which has to be that, and acknowledges it.
func (s *sidecar) step(operation string, version uint64) *placementv1.PlacementOrder {
	s.t.Helper()
	order := s.expect(operation, version)
	s.acknowledge(answers[operation], version)
	return order
}

func (s *sidecar) expect(operation string, version uint64) *placementv1.PlacementOrder {
	s.t.Helper()
	order := s.next()
	if order.GetOperation() != operation || order.GetVersion() != version {
		s.t.Fatalf("%s: got %s of version %d, want %s of %d", s.id, order.GetOperation(), order.GetVersion(), operation, version)
	}
	return order
}

// walk goes through a round of some sidecars, and gives the hosts of each type in its table.
func walk(version uint64, all ...*sidecar) map[string][]string {
	hosts := map[string][]string{}
	for _, operation := range []string{"lock", "update", "unlock"} {
		for _, s := range all {
			order := s.expect(operation, version)
			for name, entry := range order.GetTables().GetEntries() {
				hosts[name] = nil
				for host := range entry.GetLoadMap() {
					hosts[name] = append(hosts[name], host)
				}
				slices.Sort(hosts[name])
			}
		}
		for _, s := range all {
			s.acknowledge(answers[operation], version)
		}
	}
	return hosts
}

// ended is the code with which the stream has ended.
func (s *sidecar) ended() codes.Code {
	s.t.Helper()
	order, err := s.stream.Recv()
	if err == nil {
		s.t.Fatalf("%s: got %v, want an end", s.id, order)
	}
	return status.Code(err)
}

func (s *sidecar) leave() { s.conn.Close() }

// capture is what was recorded between Dapr 1.18.3's sidecars and placement.
type capture struct {
	Steps []struct {
		Name   string
		Events []struct {
			Stream     int
			Event, Dir string
			B64        []byte
		}
	}
}

func recorded(t *testing.T) (c capture) {
	t.Helper()
	text, err := os.ReadFile("testdata/rounds-1.18.3.json")
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCapture: the sidecars of the recording say what they said, and hear what they heard.
func TestCapture(t *testing.T) {
	_, address := serve(t, trusted(), Deps{})
	streams := map[int]*sidecar{}
	orders := 0
	for _, step := range recorded(t).Steps {
		for i, e := range step.Events {
			s := streams[e.Stream]
			switch {
			case e.Event == "call":
				streams[e.Stream] = dial(t, address)
			case e.Event == "message" && e.Dir == "c2s":
				said := new(placementv1.Host)
				if err := proto.Unmarshal(e.B64, said); err != nil {
					t.Fatal(err)
				}
				s.id = said.GetId()
				s.send(said)
			case e.Event == "message":
				want, got := new(placementv1.PlacementOrder), s.next()
				if err := proto.Unmarshal(e.B64, want); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
					t.Errorf("%s, event %d: -want +got:\n%s", step.Name, i, diff)
				}
				orders++
			case e.Event == "half_close":
				s.leave()
			}
		}
	}
	if orders != 15 {
		t.Errorf("%d orders were compared", orders)
	}
}

// TestBarrier: no phase begins before every host has acknowledged the one before.
func TestBarrier(t *testing.T) {
	_, address := serve(t, trusted(), Deps{})
	a := join(t, address, "a", "T")
	walk(1, a)
	b := join(t, address, "b", "T")
	for i, operation := range []string{"lock", "update", "unlock"} {
		first, second := a, b
		if i == 1 {
			first, second = b, a
		}
		first.step(operation, 2)
		second.expect(operation, 2)
		// The next order must not come before second has answered: what first says twice or of another version does not count.
		first.acknowledge(answers[operation], 2)
		first.acknowledge(answers[operation], 1)
		second.acknowledge(placementv1.HostOperation_UNLOCK, 1)
		second.acknowledge(answers[operation], 2)
	}
	// A third one sees that the round is over, in its own.
	c := join(t, address, "c", "T")
	want := map[string][]string{"T": {"a:50002", "b:50002", "c:50002"}}
	if diff := cmp.Diff(want, walk(3, a, b, c)); diff != "" {
		t.Error(diff)
	}
}

// TestFollowers: a sidecar without types is told, disturbs nobody by coming or going, and is not waited for.
func TestFollowers(t *testing.T) {
	_, address := serve(t, trusted(), Deps{})
	early := join(t, address, "early")
	early.expect("lock", 1)
	early.expect("update", 1)
	early.expect("unlock", 1)
	a := join(t, address, "a", "T")
	walk(2, a)
	for _, operation := range []string{"lock", "update", "unlock"} {
		early.expect(operation, 2)
	}
	for range 3 {
		f := join(t, address, "f")
		f.expect("lock", 2)
		if got := f.expect("update", 2).GetTables().GetEntries()["T"].GetLoadMap()["a:50002"].GetId(); got != "a" {
			t.Errorf("the host of T is %q", got)
		}
		f.expect("unlock", 2)
		f.leave()
	}
	a.report("T") // nothing new
	a.report("T", "T")
	b := join(t, address, "b", "U")
	// The round is the first since: versions 3 to 5 would be those of the followers.
	walk(3, a, b)
	a.report() // it still has to let its actors go, and does not go on as a host
	walk(4, a, b)
	b.report("U", "V")
	b.step("lock", 5)
	b.step("update", 5)
	b.step("unlock", 5)
}

// TestQueued: changes during a round are one next round.
func TestQueued(t *testing.T) {
	s, address := serve(t, trusted(), Deps{})
	a := join(t, address, "a", "T")
	a.step("lock", 1)
	a.expect("update", 1)
	var others []*sidecar
	for _, id := range []string{"b", "c", "d", "e"} {
		others = append(others, join(t, address, id, "T"))
	}
	gone := join(t, address, "gone", "T")
	a.report("T", "U")
	until(t, func() bool { return s.reported("default", "T") == 6 && s.reported("default", "U") == 1 })
	gone.leave()
	until(t, func() bool { return s.reported("default", "T") == 5 })
	a.acknowledge(placementv1.HostOperation_UPDATE, 1)
	a.step("unlock", 1)
	want := map[string][]string{"T": {"a:50002", "b:50002", "c:50002", "d:50002", "e:50002"}, "U": {"a:50002"}}
	if diff := cmp.Diff(want, walk(2, append(others, a)...)); diff != "" {
		t.Error(diff)
	}
}

// reported is how many sidecars say that they host a type.
func (s *Service) reported(namespace, name string) (n int) {
	s.mu.Lock()
	t := s.leading
	s.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	in := t.namespaces[namespace]
	if in == nil {
		return 0
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for m := range in.members {
		if slices.Contains(m.record.GetEntities(), name) {
			n++
		}
	}
	return n
}

// until waits for what has no signal.
func until(t testing.TB, is func() bool) {
	t.Helper()
	for !is() {
		if t.Context().Err() != nil {
			t.Fatal("it never came")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestLeaving: one that leaves in any phase of a round ends nobody else's stream, and the round goes on.
func TestLeaving(t *testing.T) {
	for phase, name := range []string{"lock", "update", "unlock"} {
		t.Run(name, func(t *testing.T) {
			_, address := serve(t, trusted(), Deps{})
			a := join(t, address, "a", "T")
			walk(1, a)
			b := join(t, address, "b", "T")
			for _, operation := range []string{"lock", "update", "unlock"}[:phase] {
				a.expect(operation, 2)
				b.expect(operation, 2)
				a.acknowledge(answers[operation], 2)
				b.acknowledge(answers[operation], 2)
			}
			a.step(name, 2)
			b.expect(name, 2)
			b.leave()
			for _, operation := range []string{"lock", "update", "unlock"}[phase+1:] {
				a.step(operation, 2)
			}
			if phase > 0 { // it is in the table of version 2
				want := map[string][]string{"T": {"a:50002"}}
				if diff := cmp.Diff(want, walk(3, a)); diff != "" {
					t.Error(diff)
				}
			}
			c := join(t, address, "c", "T")
			walk(map[bool]uint64{true: 4, false: 3}[phase > 0], a, c)
		})
	}
}

// TestSilent: who does not answer in time is dropped alone, and a new round begins without it.
func TestSilent(t *testing.T) {
	for phase, name := range []string{"lock", "update", "unlock"} {
		t.Run(name, func(t *testing.T) {
			settings := trusted()
			settings.DisseminateTimeout = 300 * time.Millisecond
			_, address := serve(t, settings, Deps{})
			a := join(t, address, "a", "T")
			walk(1, a)
			b := join(t, address, "b", "T")
			for _, operation := range []string{"lock", "update", "unlock"}[:phase] {
				a.expect(operation, 2)
				b.expect(operation, 2)
				a.acknowledge(answers[operation], 2)
				b.acknowledge(answers[operation], 2)
			}
			a.step(name, 2)
			b.expect(name, 2)
			if code := b.ended(); code != codes.DeadlineExceeded {
				t.Errorf("the silent one's stream ends with %s", code)
			}
			want := map[string][]string{"T": {"a:50002"}}
			if diff := cmp.Diff(want, walk(3, a)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestReturns: a sidecar that comes back before its loss was seen gets the table that there is; nobody else is asked.
func TestReturns(t *testing.T) {
	_, address := serve(t, trusted(), Deps{})
	a := join(t, address, "a", "T")
	walk(1, a)
	b := join(t, address, "b", "U")
	walk(2, a, b)
	again := join(t, address, "a", "T")
	version := again.next().GetVersion()
	again.expect("update", version)
	again.expect("unlock", version)
	if code := a.ended(); code != codes.Aborted {
		t.Errorf("the earlier stream ends with %s", code)
	}
	b.report("U", "V")
	walk(version+1, again, b)
}

// TestNamespaces: rounds of one namespace are not those of another.
func TestNamespaces(t *testing.T) {
	s, address := serve(t, trusted(), Deps{})
	a := join(t, address, "a", "T")
	walk(1, a)
	other := dial(t, address)
	other.name, other.id, other.ns = "a:50002", "a", "other"
	other.report("T")
	walk(1, other)
	tables := s.Tables()
	if len(tables) != 2 || tables["default"].Version != 1 || tables["other"].Version != 1 {
		t.Errorf("tables %v", tables)
	}
}

// TestCoalesce: changes within the window are one round.
func TestCoalesce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings := trusted()
		settings.CoalesceWindow = time.Second
		n := testNamespace(settings)
		var all []*member
		for _, id := range []string{"a", "b", "c"} {
			m := newMember(&placementv1.Host{Name: id, Id: id, Namespace: "default", Entities: []string{"T"}})
			all = append(all, m)
			n.join(m)
			time.Sleep(300 * time.Millisecond)
		}
		follower := newMember(&placementv1.Host{Name: "f", Id: "f", Namespace: "default"})
		n.join(follower)
		if len(follower.orders) != 3 {
			t.Errorf("who hosts nothing waits for the window: %d orders", len(follower.orders))
		}
		for _, m := range all {
			if len(m.orders) != 0 {
				t.Errorf("the round begins within the window")
			}
		}
		time.Sleep(time.Second)
		for _, m := range all {
			if len(m.orders) != 1 {
				t.Errorf("%s has got %d orders", m.id, len(m.orders))
			}
		}
		n.close(nil)
	})
}

func testNamespace(settings Settings) *namespace {
	log, _ := logtest.NewNullLogger()
	s := NewService(settings, Deps{Log: log})
	n := newNamespace("default", &term{service: s})
	n.open()
	return n
}

// TestRefused: what a stream may not say.
func TestRefused(t *testing.T) {
	report := placementv1.HostOperation_REPORT
	tests := map[string]struct {
		first, second *placementv1.Host
		code          codes.Code
	}{
		"no id":             {&placementv1.Host{Namespace: "n", Operation: report}, nil, codes.InvalidArgument},
		"no namespace":      {&placementv1.Host{Id: "a", Operation: report}, nil, codes.InvalidArgument},
		"no report":         {&placementv1.Host{Id: "a", Namespace: "n", Operation: placementv1.HostOperation_LOCK}, nil, codes.InvalidArgument},
		"no address":        {&placementv1.Host{Id: "a", Namespace: "n", Operation: report, Entities: []string{"T"}}, nil, codes.InvalidArgument},
		"workflows":         {&placementv1.Host{Id: "a", Namespace: "n", Name: "h", Operation: report, Entities: []string{"dapr.internal.n.b.workflow"}}, nil, codes.InvalidArgument},
		"a long name":       {&placementv1.Host{Id: "a", Namespace: "n", Name: strings.Repeat("h", maxName+1), Operation: report}, nil, codes.InvalidArgument},
		"many types":        {&placementv1.Host{Id: "a", Namespace: "n", Name: "h", Operation: report, Entities: make([]string, maxTypes+1)}, nil, codes.InvalidArgument},
		"another's name":    {&placementv1.Host{Id: "a", Namespace: "n", Operation: report}, &placementv1.Host{Id: "b", Namespace: "n", Operation: report}, codes.PermissionDenied},
		"no operation":      {&placementv1.Host{Id: "a", Namespace: "n", Operation: report}, &placementv1.Host{Id: "a", Namespace: "n", Version: proto.Uint64(1)}, codes.InvalidArgument},
		"what is not there": {&placementv1.Host{Id: "a", Namespace: "n", Operation: report}, &placementv1.Host{Id: "a", Namespace: "n", Operation: 9}, codes.InvalidArgument},
	}
	_, address := serve(t, trusted(), Deps{})
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := dial(t, address)
			s.send(test.first)
			if test.second != nil {
				s.expect("lock", 1)
				s.expect("update", 1)
				s.expect("unlock", 1)
				s.send(test.second)
			}
			if code := s.ended(); code != test.code {
				t.Errorf("ended with %s", code)
			}
		})
	}
}

// TestNotLeading: only the leader takes streams; when it does not lead any more they end, and others can lead.
func TestNotLeading(t *testing.T) {
	log, _ := logtest.NewNullLogger()
	s := NewService(trusted(), Deps{ID: "one", Log: log})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(s.ServerOptions()...)
	placementv1.RegisterPlacementServer(server, s)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	defer func() { server.Stop(); <-served; s.Wait() }()
	refused := func() {
		t.Helper()
		_, err := join(t, listener.Addr().String(), "a", "T").stream.Recv()
		if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != "node id=one is not a leader. Only the leader can serve requests" {
			t.Errorf("refused with %v", err)
		}
	}
	refused()
	for range 2 {
		ctx, stop := context.WithCancel(t.Context())
		led := make(chan struct{})
		go func() { defer close(led); _ = s.Lead(ctx) }()
		until(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.leading != nil })
		a := join(t, listener.Addr().String(), "a", "T")
		walk(1, a)
		stop()
		<-led
		if code := a.ended(); code != codes.FailedPrecondition {
			t.Errorf("ended with %s", code)
		}
		refused()
	}
}

// TestDeposed: a server that finds before a round that it does not lead any more ends its term.
func TestDeposed(t *testing.T) {
	leads := errors.New("another one leads")
	_, address := serve(t, trusted(), Deps{Confirm: func(context.Context) error { return leads }})
	if code := join(t, address, "a", "T").ended(); code != codes.FailedPrecondition {
		t.Errorf("ended with %s", code)
	}
}

// TestQuarantine: a new server begins no round while a sidecar may still trust the table of another.
func TestQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := logtest.NewNullLogger()
		s := NewService(Settings{}, Deps{Log: log})
		ctx, stop := context.WithCancel(t.Context())
		led := make(chan struct{})
		go func() { defer close(led); _ = s.Lead(ctx) }()
		synctest.Wait()
		n := s.leading.enter("default")
		host := newMember(&placementv1.Host{Name: "a", Id: "a", Namespace: "default", Entities: []string{"T"}})
		follower := newMember(&placementv1.Host{Name: "f", Id: "f", Namespace: "default"})
		n.join(host)
		n.join(follower)
		time.Sleep(s.settings.Quarantine - 1)
		if len(host.orders)+len(follower.orders) != 0 {
			t.Error("orders came in the quarantine")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if len(host.orders) != 1 || len(follower.orders) != 1 {
			t.Errorf("%d and %d orders after it", len(host.orders), len(follower.orders))
		}
		stop()
		<-led
	})
}
