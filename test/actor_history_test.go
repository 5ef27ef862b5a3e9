package test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
)

const (
	// ledgers is how many actors the history test has at a time, and clerks how many clients, each of which goes through
	// all of them. When a clerk has been at each of them pages times it turns to others, so that lists stay short.
	ledgers, clerks, pages = 12, 6, 50
	// soaking names the variable with which the history test goes on for a time of its own: make soak.
	soaking = "DAPRD_SOAK"
)

// host is an application with its sidecar, and the ways from there to the servers of placement.
type host struct {
	*ledger
	id      string
	links   links
	flags   []string
	process *process
}

// guild is a mesh of hosts, a sidecar that calls them, and placement.
type guild struct {
	mesh      *mesh
	network   *network
	placement *placement
	hosts     [3]*host
	caller    *process
	turns     *turns
	history   history
	clerks    [clerks]atomic.Int64
}

// network is where the parts of a guild run. On the sites of one machine links between hosts and placement can be cut; on
// others the network itself is.
type network struct {
	hosts   [3]*site
	servers []*site
	// store is the address from which all sites reach a Redis, whose own address is given.
	store  func(t *testing.T, address string) string
	linked bool
	faults []mishap
}

// singleServer and threeServers have everything on one machine.
var (
	singleServer = &network{hosts: [3]*site{here, here, here}, servers: []*site{here}, store: asItIs}
	threeServers = &network{hosts: [3]*site{here, here, here}, servers: []*site{here, here, here}, store: asItIs, linked: true, faults: faults}
)

func asItIs(_ *testing.T, address string) string { return address }

func newGuild(t *testing.T, m *mesh, n *network) *guild {
	t.Helper()
	redis := redistest.Start(t)
	store := manifests(t, map[string]string{"store.yaml": `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: actorstore}
spec:
  type: state.redis
  version: v1
  metadata:
  - {name: redisHost, value: "` + n.store(t, redis.Address) + `"}
  - {name: actorStateStore, value: "true"}
`})
	g := &guild{mesh: m, network: n, turns: newTurns(t), placement: startPlacement(t, n.servers...)}
	for i := range g.hosts {
		h := &host{ledger: newLedger(t, g.turns, n.hosts[i]), id: g.mesh.id("ledger")}
		addresses := g.placement.addresses()
		if n.linked {
			for _, s := range g.placement.servers {
				h.links = append(h.links, newLink(t, s.address))
			}
			addresses = h.links.addresses()
		}
		h.flags = []string{h.flag(), store, "--placement-host-address", addresses}
		g.hosts[i] = h
		g.open(t, h)
	}
	g.caller = g.mesh.start(t, g.mesh.id("caller"), store, "--placement-host-address", g.placement.addresses())
	return g
}

// open starts a host's sidecar.
func (g *guild) open(t *testing.T, h *host) {
	t.Helper()
	h.process = g.mesh.at(h.site).launch(t, h.id, h.flags...)
	url := "http://" + h.process.httpAddress(t)
	h.sidecar.Store(&url)
	h.process.ready(t)
}

// ask calls an actor's method through the sidecar that hosts none.
func (g *guild) ask(ctx context.Context, c *http.Client, url, actor, method, body string) (answer, error) {
	return try(ctx, c, http.MethodPost, url+"/v1.0/actors/ledger/"+actor+"/method/"+method, strings.NewReader(body))
}

// work has a clerk make entries, and now and then ask for a reminder, until told to stop.
func (g *guild) work(t *testing.T, clerk int, stop <-chan struct{}) {
	c, url := client(t), g.caller.url(t, "")
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		actor, name := fmt.Sprintf("a%d-%d", n/(ledgers*pages), (n+clerk)%ledgers), fmt.Sprintf("%d-%d", clerk, n)
		if n%16 == 15 {
			if a, err := g.ask(t.Context(), c, url, actor, "remind", name); err == nil && a.status == http.StatusOK {
				g.history.promise(actor + "/" + name)
			}
			continue
		}
		e := deed{actor: actor, name: name, call: time.Now(), at: -1}
		a, err := g.ask(t.Context(), c, url, actor, "add", name)
		e.back = time.Now()
		if err == nil && a.status == http.StatusOK {
			if e.at, err = strconv.Atoi(a.body); err != nil {
				t.Errorf("actor %s answers %q", actor, a.body)
				return
			}
			g.clerks[clerk].Add(1)
		}
		g.history.add(e)
	}
}

// goesOn waits until every clerk has made as many entries as there are actors: all actors are alive.
func (g *guild) goesOn(t *testing.T) {
	t.Helper()
	var goals [clerks]int64
	for i := range goals {
		goals[i] = g.clerks[i].Load() + ledgers
	}
	eventually(t, "every clerk goes on", func() bool {
		for i := range goals {
			if g.clerks[i].Load() < goals[i] {
				return t.Failed()
			}
		}
		return true
	})
}

func (h *history) add(d deed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deeds = append(h.deeds, d)
}

// actors are those that clients called.
func (h *history) actors() map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string]bool{}
	for _, d := range h.deeds {
		all[d.actor] = true
	}
	return all
}

func (h *history) promise(reminder string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.promised = append(h.promised, reminder)
}

// mishap is what the history tests do to a host or to placement, and undo once the others have gone on without it.
type mishap struct {
	name   string
	strike func(t *testing.T, g *guild, h *host)
}

var faults = []mishap{
	{"a sidecar is killed", func(t *testing.T, g *guild, h *host) {
		h.stops.Add(1)
		h.process.signal(t, syscall.SIGKILL)
		h.process.exits(t, -1)
		g.goesOn(t)
		g.open(t, h)
	}},
	{"a sidecar is told to end", func(t *testing.T, g *guild, h *host) {
		h.process.stops(t)
		g.goesOn(t)
		g.open(t, h)
	}},
	{"a sidecar stands still", func(t *testing.T, g *guild, h *host) {
		h.stops.Add(1)
		h.process.signal(t, syscall.SIGSTOP)
		g.goesOn(t)
		h.process.signal(t, syscall.SIGCONT)
	}},
	{"a sidecar is cut off from placement", func(t *testing.T, g *guild, h *host) {
		h.links.fall()
		g.goesOn(t)
		h.links.heal()
	}},
	{"an application crashes", func(t *testing.T, g *guild, h *host) {
		h.die()
		h.live(t)
	}},
	{"the leader of placement is killed", func(t *testing.T, g *guild, _ *host) {
		s := g.placement.leader(t)
		s.kill(t)
		g.goesOn(t)
		s.start(t)
	}},
	{"the leader of placement stands still", func(t *testing.T, g *guild, _ *host) {
		s := g.placement.leader(t)
		s.process.signal(t, syscall.SIGSTOP)
		g.goesOn(t)
		s.process.signal(t, syscall.SIGCONT)
	}},
	{"the leader of placement is told to end", func(t *testing.T, g *guild, _ *host) {
		s := g.placement.leader(t)
		s.process.stops(t)
		g.goesOn(t)
		s.start(t)
	}},
	{"all of placement is killed", func(t *testing.T, g *guild, _ *host) {
		for _, s := range g.placement.servers {
			s.kill(t)
		}
		for _, s := range g.placement.servers {
			s.start(t)
		}
	}},
}

// TestActorHistory holds the guarantees of docs/actors.md while everything is killed, stopped and cut off: no two turns of
// one actor at once, no acknowledged entry lost, no reminder lost. DAPRD_SOAK=10m has it go on for ten minutes.
func TestActorHistory(t *testing.T) {
	t.Parallel()
	newGuild(t, newMesh(t), threeServers).live(t)
}

// live goes through the faults while the clerks work, and checks the guarantees in the end.
func (g *guild) live(t *testing.T) {
	var (
		stop  = make(chan struct{})
		wait  sync.WaitGroup
		seed  = rand.Uint64()
		chaos = rand.New(rand.NewPCG(seed, 0))
		until = time.Now()
	)
	t.Logf("the seed is %d", seed)
	if text := os.Getenv(soaking); text != "" {
		long, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("%s: %v", soaking, err)
		}
		until = until.Add(long)
	}
	for clerk := range clerks {
		wait.Go(func() { g.work(t, clerk, stop) })
	}
	g.goesOn(t)
	struck := map[string]int{}
	for first := true; !t.Failed() && (first || time.Now().Before(until)); first = false {
		for _, at := range chaos.Perm(len(g.network.faults)) {
			if t.Failed() {
				break
			}
			fault, h := g.network.faults[at], g.hosts[chaos.IntN(len(g.hosts))]
			t.Logf("%s: %s", h.process.httpAddress(t), fault.name)
			fault.strike(t, g, h)
			g.goesOn(t)
			struck[fault.name]++
		}
	}
	close(stop)
	wait.Wait()

	kept := map[string][]string{}
	for actor := range g.history.actors() {
		a, err := g.ask(t.Context(), g.turns.client, g.caller.url(t, ""), actor, "list", "")
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("list of %s: %v %+v", actor, err, a)
		}
		kept[actor] = strings.Fields(a.body)
	}
	for _, name := range slices.Sorted(maps.Keys(struck)) {
		t.Logf("%d times %s", struck[name], name)
	}
	g.history.check(t, kept)
	g.turns.check(t, g.history.promised)
}
