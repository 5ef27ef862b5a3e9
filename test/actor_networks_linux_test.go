package test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inNetworks says that this is the test binary that was started again in a network namespace of its own.
const inNetworks = "DAPRD_TEST_NETWORKS"

// pod is a network namespace with a cable to the bridge to which all are connected.
type pod struct {
	*site
	// cable is the bridge's end.
	cable string
}

// bridge is the address of the namespace in which the test runs itself.
const bridge = "10.77.0.1"

// newPod makes the nth one; n is below 200.
func newPod(t *testing.T, n int) *pod {
	t.Helper()
	space := newSpace(t)
	p := &pod{site: &site{address: fmt.Sprintf("10.77.0.%d", 10+n), inside: func(do func()) { in(space, do) }}, cable: fmt.Sprintf("pod%d", n)}
	command(t, fmt.Sprintf("ip link add %s type veth peer name eth0 netns /proc/%d/fd/%d", p.cable, os.Getpid(), space.Fd()))
	command(t, "ip link set "+p.cable+" master bridge up")
	p.inside(func() {
		command(t, "ip link set lo up")
		command(t, "ip address add "+p.address+"/24 dev eth0")
		command(t, "ip link set eth0 up")
	})
	return p
}

// newSpace makes a network namespace.
func newSpace(t *testing.T) *os.File {
	t.Helper()
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	space, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { space.Close() })
	if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatal(err) // the thread ends with the test
	}
	runtime.UnlockOSThread()
	return space
}

// in does something in a namespace: sockets that it opens and processes that it starts are there.
func in(space *os.File, do func()) {
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err == nil {
		err = unix.Setns(int(space.Fd()), unix.CLONE_NEWNET)
	}
	if err != nil {
		panic(err)
	}
	defer func() {
		defer own.Close()
		if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err)
		}
		runtime.UnlockOSThread()
	}()
	do()
}

func command(t *testing.T, line string) {
	t.Helper()
	words := strings.Fields(line)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// cut unplugs the cable: what is sent in either direction is lost, and nobody is told.
func (p *pod) cut(t *testing.T) {
	t.Helper()
	command(t, "ip link set "+p.cable+" down")
}

func (p *pod) mend(t *testing.T) {
	t.Helper()
	command(t, "ip link set "+p.cable+" up")
}

// mute has what the pod sends to others be lost, while it hears them.
func (p *pod) mute(t *testing.T, others ...*pod) {
	t.Helper()
	p.inside(func() {
		for _, other := range others {
			command(t, "ip neighbour replace "+other.address+" lladdr 02:00:00:00:00:01 dev eth0 nud permanent")
		}
	})
}

func (p *pod) speak(t *testing.T, others ...*pod) {
	t.Helper()
	p.inside(func() {
		for _, other := range others {
			command(t, "ip neighbour delete "+other.address+" dev eth0")
		}
	})
}

// TestActorNetworks is TestActorHistory with each host and each placement server in a network of its own, whose cables are
// unplugged.
func TestActorNetworks(t *testing.T) {
	t.Parallel()
	if os.Getenv(inNetworks) == "" {
		again(t)
		return
	}
	n, servers, pods := newNetworks(t)
	n.faults = []mishap{
		{"a host is cut off", func(t *testing.T, g *guild, h *host) {
			p := pods[h.site]
			p.cut(t)
			g.goesOn(t)
			p.mend(t)
		}},
		{"what a host sends to placement is lost", func(t *testing.T, g *guild, h *host) {
			p := pods[h.site]
			p.mute(t, servers...)
			g.goesOn(t)
			p.speak(t, servers...)
		}},
		{"the leader of placement is cut off", func(t *testing.T, g *guild, _ *host) {
			p := pods[g.placement.leader(t).site]
			p.cut(t)
			g.goesOn(t)
			p.mend(t)
		}},
		{"what the leader of placement sends to the other servers is lost", func(t *testing.T, g *guild, _ *host) {
			p := pods[g.placement.leader(t).site]
			var others []*pod
			for _, s := range servers {
				if s != p {
					others = append(others, s)
				}
			}
			p.mute(t, others...)
			g.goesOn(t)
			p.speak(t, others...)
		}},
	}
	newGuild(t, bridged(t), n).live(t)
}

// newNetworks connects hosts and placement servers, each in a network of its own.
func newNetworks(t *testing.T) (n *network, servers []*pod, pods map[*site]*pod) {
	t.Helper()
	command(t, "ip link set lo up")
	command(t, "ip link add bridge type bridge")
	command(t, "ip address add "+bridge+"/24 dev bridge")
	command(t, "ip link set bridge up")
	pods = map[*site]*pod{}
	n = &network{store: func(t *testing.T, address string) string { return newLinkAt(t, bridge, address).address }}
	for i := range n.hosts {
		p := newPod(t, i)
		n.hosts[i], pods[p.site] = p.site, p
	}
	for i := range 3 {
		p := newPod(t, len(n.hosts)+i)
		n.servers, servers, pods[p.site] = append(n.servers, p.site), append(servers, p), p
	}
	return n, servers, pods
}

// bridged is a mesh whose sidecars others reach over the bridge.
func bridged(t *testing.T) *mesh {
	t.Helper()
	m := newMesh(t)
	m.site = &site{address: bridge, inside: here.inside}
	return m
}

// TestActorLateWrite: what a host has sent to the store before its cable was unplugged, or while it had not noticed, does
// not arrive after its actors are elsewhere.
func TestActorLateWrite(t *testing.T) {
	t.Parallel()
	if os.Getenv(inNetworks) == "" {
		again(t)
		return
	}
	n, _, pods := newNetworks(t)
	g := newGuild(t, bridged(t), n)
	c, url := client(t), g.caller.url(t, "")
	add := func(entry string) (answer, error) { return g.ask(t.Context(), c, url, "a", "add", entry) }
	var once sync.Once
	writes, goOn := make(chan *ledger), make(chan struct{})
	g.turns.writes = func(host *ledger, entry string) {
		if entry == "late" {
			once.Do(func() {
				writes <- host
				<-goOn
			})
		}
	}
	if a, err := add("first"); err != nil || a.body != "0" {
		t.Fatal(err, a)
	}
	var late sync.WaitGroup
	late.Go(func() { _, _ = add("late") })
	p := pods[(<-writes).site]
	p.cut(t)
	close(goOn)
	a, err := add("second")
	if err != nil || a.status != http.StatusOK {
		t.Fatal(err, a)
	}
	p.mend(t)
	late.Wait()
	eventually(t, "nothing is on its way to the store", func() bool { return !p.sends(t) })
	kept, err := g.ask(t.Context(), c, url, "a", "list", "")
	if err != nil || !slices.Contains(strings.Fields(kept.body), "second") {
		t.Errorf("the second entry was acknowledged as number %s; these are left: %v %+v", a.body, err, kept)
	}
}

// sends says whether TCP has something that it has sent and that was not acknowledged.
func (p *pod) sends(t *testing.T) (is bool) {
	t.Helper()
	p.inside(func() {
		text, err := os.ReadFile("/proc/thread-self/net/tcp")
		if err != nil {
			t.Error(err)
		}
		for _, line := range strings.Split(string(text), "\n")[1:] {
			if fields := strings.Fields(line); len(fields) > 4 && fields[3] != "0A" && !strings.HasPrefix(fields[4], "00000000:") {
				is = true // it does not listen, and its queue is not empty
			}
		}
	})
	return is
}

// again runs the test in a network namespace of its own.
func again(t *testing.T) {
	t.Helper()
	unshare := []string{"unshare", "--map-root-user", "--net"}
	if err := exec.CommandContext(t.Context(), unshare[0], append(unshare[1:], "ip", "link")...).Run(); err != nil {
		text := fmt.Sprintf("no network namespaces (needs unshare, iproute2 and the permission): %v", err)
		if os.Getenv("CI") == "true" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
	const cables = "ip link add bridge type bridge && ip link add one type veth peer name other"
	if out, err := exec.CommandContext(t.Context(), unshare[0], append(unshare[1:], "sh", "-c", cables)...).CombinedOutput(); err != nil {
		t.Skipf("this kernel has no bridges or no veth: %v: %s", err, out)
	}
	for _, build := range []func() (string, error){binary, placementBinary} {
		if _, err := build(); err != nil {
			t.Fatal(err)
		}
	}
	folder, err := filepath.Abs(scratch)
	if err != nil {
		t.Fatal(err)
	}
	var bound time.Duration // none
	if end, ok := t.Deadline(); ok {
		bound = time.Until(end)
	}
	child := exec.Command(unshare[0], append(unshare[1:], os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+bound.String())...)
	child.Env = append(os.Environ(), inNetworks+"=1", builtIn+"="+folder)
	out, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Log(string(out))
}
