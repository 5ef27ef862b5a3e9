package mdns

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	logrustest "github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"
	"golang.org/x/net/ipv4"

	"github.com/daprd/daprd/pkg/nameresolution"
)

// inNamespace names the network in which the test binary was started again.
const inNamespace = "MDNS_TEST_NETWORK"

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// networks are made in a network namespace of their own, so that these tests
// neither disturb nor hear the machine's network.
var networks = map[string]string{
	"multicast": "ip link set lo up && ip link set lo multicast on && ip route add 224.0.0.0/4 dev lo",
	"IPv6":      "ip link set lo up && ip link set lo multicast on && ip -6 route add table local multicast ff02::/16 dev lo",
	"none":      "ip link set lo up",
}

// inNetwork says whether this process has the named network. If not, the test has
// been run in one that has, and its outcome reported: there is nothing left to do.
func inNetwork(t *testing.T, name string) bool {
	t.Helper()
	if os.Getenv(inNamespace) == name {
		return true
	}
	unshare := []string{"unshare", "--map-root-user", "--net"}
	if err := exec.CommandContext(t.Context(), unshare[0], append(unshare[1:], "ip", "link")...).Run(); err != nil {
		text := fmt.Sprintf("no network namespace for multicast (needs unshare, iproute2 and the permission): %v", err)
		if os.Getenv("CI") == "true" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
	script := networks[name] + ` && exec "$0" "$@"`
	args := append(unshare[1:], "sh", "-c", script, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	child := exec.CommandContext(t.Context(), unshare[0], args...)
	child.Env = append(os.Environ(), inNamespace+"="+name)
	out, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in network %q: %v\n%s", name, err, out)
	}
	return false
}

func newResolver(t *testing.T) (*Resolver, *logrustest.Hook) {
	t.Helper()
	log, hook := logrustest.NewNullLogger()
	r := New(log)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, hook
}

func announce(t *testing.T, a nameresolution.Announcement) (*Resolver, *logrustest.Hook) {
	t.Helper()
	r, hook := newResolver(t)
	if err := r.Announce(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	return r, hook
}

func resolve(t *testing.T, r *Resolver, appID string) []string {
	t.Helper()
	got, err := r.Resolve(t.Context(), nameresolution.Target{AppID: appID})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	return got
}

// bystander is a socket like that of a Dapr sidecar: on the group's port, and all
// it sends leaves from there.
type bystander struct {
	t    *testing.T
	conn *net.UDPConn
	to   *net.UDPAddr
}

func newBystander(t *testing.T) *bystander {
	t.Helper()
	to := &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: port}
	conn, err := net.ListenMulticastUDP("udp4", nil, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := ipv4.NewPacketConn(conn).SetMulticastLoopback(true); err != nil {
		t.Fatal(err)
	}
	return &bystander{t, conn, to}
}

func (b *bystander) send(m *dns.Msg) {
	b.t.Helper()
	packet, err := m.Pack()
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.conn.WriteToUDP(packet, b.to); err != nil {
		b.t.Fatal(err)
	}
}

// await reads packets until one fits.
func (b *bystander) await(what string, fits func(*dns.Msg) bool) (*dns.Msg, *net.UDPAddr) {
	b.t.Helper()
	if err := b.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		b.t.Fatal(err)
	}
	buffer := make([]byte, maxPacket)
	for {
		n, from, err := b.conn.ReadFromUDP(buffer)
		if err != nil {
			b.t.Fatalf("no %s: %v", what, err)
		}
		m := new(dns.Msg)
		if m.Unpack(buffer[:n]) == nil && fits(m) {
			return m, from
		}
	}
}

func TestSidecarsFindOneAnother(t *testing.T) {
	if !inNetwork(t, "multicast") {
		return
	}
	first, hook := announce(t, nameresolution.Announcement{AppID: "app", Host: "127.0.0.1", Port: 1})
	if got := hook.LastEntry().Message; got != "local service entry announced: app -> 127.0.0.1:1" {
		t.Errorf("line %q", got)
	}
	caller, _ := newResolver(t)
	if diff := cmp.Diff([]string{"127.0.0.1:1"}, resolve(t, caller, "app")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"127.0.0.1:1"}, resolve(t, first, "app")); diff != "" {
		t.Errorf("itself: %s", diff)
	}
	listener := newBystander(t)
	second, _ := announce(t, nameresolution.Announcement{AppID: "app", Host: "127.0.0.1", Port: 2})
	_ = second
	waitFor(t, "the announced replica", func() bool { return len(resolve(t, caller, "app")) == 2 })

	if err := first.Withdraw(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := hook.LastEntry().Message; got != "stopping mDNS server for app id: app" {
		t.Errorf("line %q", got)
	}
	listener.await("goodbye", func(m *dns.Msg) bool {
		seen := sightings(m, "")
		return len(seen) == 1 && seen[0].goodbye && seen[0].address == "127.0.0.1:1"
	})
	waitFor(t, "the withdrawal", func() bool { return slices.Equal(resolve(t, caller, "app"), []string{"127.0.0.1:2"}) })
}

// waitFor polls where the other side gives no signal.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no sign of %s", what)
		}
	}
}

// A Dapr sidecar asks from port 5353 without the unicast bit, and hears only what
// goes to the group.
func TestDaprHearsAnswer(t *testing.T) {
	if !inNetwork(t, "multicast") {
		return
	}
	announce(t, nameresolution.Announcement{AppID: "app", Host: "127.0.0.1", Port: 50002})
	dapr := newBystander(t)
	for id := uint16(100); id < 103; id++ {
		q := question("app.local.")
		q.Id = id
		dapr.send(q)
		m, from := dapr.await("answer", func(m *dns.Msg) bool { return m.Response && m.Id == id })
		if !m.Authoritative || from.Port != port {
			t.Errorf("answer from %v: %v", from, m)
		}
		want := []sighting{{appID: "app", address: "127.0.0.1:50002"}}
		if diff := cmp.Diff(want, sightings(m, ""), cmp.AllowUnexported(sighting{})); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAnnouncesTwice(t *testing.T) {
	if !inNetwork(t, "multicast") {
		return
	}
	dapr := newBystander(t)
	announce(t, nameresolution.Announcement{AppID: "app", Host: "127.0.0.1", Port: 50002})
	for range 2 {
		m, _ := dapr.await("announcement", func(m *dns.Msg) bool { return m.Response && !m.Authoritative && m.Id == 0 })
		if len(sightings(m, "")) != 1 {
			t.Errorf("a Dapr sidecar would not take %v", m)
		}
	}
}

// A Dapr sidecar answers by multicast only.
func TestDaprIsFound(t *testing.T) {
	if !inNetwork(t, "multicast") {
		return
	}
	dapr := newBystander(t)
	s := testService(t, "127.0.0.1")
	caller, _ := newResolver(t)
	var answering sync.WaitGroup
	defer answering.Wait()
	answering.Go(func() {
		m, _ := dapr.await("question", s.isAsked)
		dapr.send(s.answer(m.Id))
	})
	began := time.Now()
	if diff := cmp.Diff([]string{"127.0.0.1:50002"}, resolve(t, caller, "nodeapp")); diff != "" {
		t.Error(diff)
	}
	if took := time.Since(began); took >= browseTime {
		t.Errorf("the lookup took %v: it waited for more than the first answer", took)
	}
	caller.Forget(nameresolution.Target{AppID: "nodeapp"}, "127.0.0.1:50002")
	answering.Go(func() {
		m, _ := dapr.await("question", s.isAsked)
		dapr.send(s.answer(m.Id))
	})
	if diff := cmp.Diff([]string{"127.0.0.1:50002"}, resolve(t, caller, "nodeapp")); diff != "" {
		t.Errorf("after it was forgotten: %s", diff)
	}
}

// A sidecar whose own sockets could not be had still answers by unicast.
func TestUnicastAnswerIsHeard(t *testing.T) {
	if !inNetwork(t, "multicast") {
		return
	}
	peer, err := newResponder(testService(t, "127.0.0.1"), nil, errors.New("no sockets"))
	if err != nil {
		t.Fatal(err)
	}
	defer peer.close()
	caller, _ := newResolver(t)
	if diff := cmp.Diff([]string{"127.0.0.1:50002"}, resolve(t, caller, "nodeapp")); diff != "" {
		t.Error(diff)
	}
}

func TestNobodyAnswers(t *testing.T) {
	if !inNetwork(t, "multicast") {
		return
	}
	dapr := newBystander(t)
	caller, _ := newResolver(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			began := time.Now()
			_, err := caller.Resolve(t.Context(), nameresolution.Target{AppID: "nobody"})
			var notFound *nameresolution.NotFoundError
			if !errors.As(err, &notFound) || err.Error() != "couldn't find service: nobody" {
				t.Errorf("error %v", err)
			}
			if took := time.Since(began); took < browseTime {
				t.Errorf("gave up after %v", took)
			}
		})
	}
	group.Wait()
	// Own sockets ask once and hashicorp's client once a round, for all eight.
	questions := 0
	end := question("end.local.")
	dapr.send(end)
	dapr.await("end", func(m *dns.Msg) bool {
		if !m.Response && len(m.Question) == 1 && m.Question[0].Name == "nobody.local." {
			questions++
		}
		return m.Id == end.Id
	})
	if questions == 0 || questions > 1+len(rounds()) {
		t.Errorf("%d questions for lookups at the same time", questions)
	}
}

func TestIPv6Only(t *testing.T) {
	if !inNetwork(t, "IPv6") {
		return
	}
	announce(t, nameresolution.Announcement{AppID: "app", Host: "::1", Port: 50002})
	caller, _ := newResolver(t)
	if diff := cmp.Diff([]string{"[::1]:50002"}, resolve(t, caller, "app")); diff != "" {
		t.Error(diff)
	}
}

func TestNoMulticast(t *testing.T) {
	if !inNetwork(t, "none") {
		return
	}
	r, hook := newResolver(t)
	err := r.Announce(t.Context(), nameresolution.Announcement{AppID: "app", Host: "127.0.0.1", Port: 1})
	if err == nil || !strings.Contains(err.Error(), "announce app by mDNS: no network interface can multicast") {
		t.Errorf("error %v", err)
	}
	if len(hook.AllEntries()) != 0 {
		t.Errorf("logged %q", hook.LastEntry().Message)
	}
	_, err = r.Resolve(t.Context(), nameresolution.Target{AppID: "app"})
	if err == nil || !strings.Contains(err.Error(), "look up app by mDNS: no network interface can multicast") {
		t.Errorf("error %v", err)
	}
}

func TestClosed(t *testing.T) {
	r, _ := newResolver(t)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Resolve(t.Context(), nameresolution.Target{AppID: "app"}); !errors.Is(err, errClosed) {
		t.Errorf("error %v", err)
	}
}
