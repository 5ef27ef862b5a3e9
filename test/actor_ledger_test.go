package test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// ledger is the actor of the history test. Its state is the list of the entries that its clients made, each by a call with an
// entry of its own, so that a call that is made twice is one entry. The answer is the entry's place in the list.
type ledger struct {
	*application
	// sidecar is the address of the sidecar's HTTP API; stops counts how often the sidecar was stopped.
	sidecar atomic.Pointer[string]
	stops   atomic.Int64
	turns   *turns
	client  *http.Client
}

const ledgerConfiguration = `{"entities": ["ledger"], "actorIdleTimeout": "1h", "drainOngoingCallTimeout": "10s"}`

func newLedger(t *testing.T, turns *turns, s *site) *ledger {
	t.Helper()
	l := &ledger{turns: turns, client: clientIn(t, s)}
	l.application = newApplication(t, l.serve)
	l.site = s
	l.live(t)
	return l
}

// clientIn is client within a site.
func clientIn(t *testing.T, s *site) *http.Client {
	t.Helper()
	c := client(t)
	c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		s.inside(func() { conn, err = new(net.Dialer).DialContext(ctx, network, address) })
		return conn, err
	}
	return c
}

func (l *ledger) serve(w http.ResponseWriter, r *http.Request) {
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	body, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
	case r.URL.Path == "/dapr/config":
		_, _ = io.WriteString(w, ledgerConfiguration)
	case len(path) == 3 && r.Method == http.MethodDelete:
	case len(path) < 5 || path[0] != "actors":
		w.WriteHeader(http.StatusNotFound)
	default:
		end := l.turns.begin(r.Context(), l, path[2])
		answer, err := l.act(r.Context(), path[2], path[4:], string(body))
		end()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, answer)
	}
}

// act is one turn: "add" and "remind" come from clients, "remind/<name>" when a reminder is due.
func (l *ledger) act(ctx context.Context, id string, method []string, body string) (string, error) {
	switch {
	case len(method) == 2:
		l.turns.fired(id + "/" + method[1])
		return "", nil
	case method[0] == "remind":
		_, err := l.ask(ctx, http.MethodPost, id, "reminders/"+body, `{"dueTime": "1s"}`, http.StatusNoContent)
		return "", err
	}
	entries, err := l.entries(ctx, id)
	if err != nil || method[0] == "list" {
		return strings.Join(entries, " "), err
	}
	if at := slices.Index(entries, body); at >= 0 {
		return fmt.Sprint(at), nil
	}
	if l.turns.writes != nil {
		l.turns.writes(l, body)
	}
	value, err := json.Marshal(append(entries, body))
	if err != nil {
		return "", err
	}
	_, err = l.ask(ctx, http.MethodPost, id, "state", `[{"operation": "upsert", "request": {"key": "entries", "value": `+string(value)+`}}]`, http.StatusNoContent)
	return fmt.Sprint(len(entries)), err
}

func (l *ledger) entries(ctx context.Context, id string) (entries []string, err error) {
	text, err := l.ask(ctx, http.MethodGet, id, "state/entries", "", http.StatusOK)
	if err != nil || text == "" {
		return nil, err
	}
	return entries, json.Unmarshal([]byte(text), &entries)
}

// ask calls the actor API of the application's own sidecar.
func (l *ledger) ask(ctx context.Context, method, id, path, body string, want int) (string, error) {
	a, err := try(ctx, l.client, method, *l.sidecar.Load()+"/v1.0/actors/ledger/"+id+"/"+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	if a.status != want && a.status != http.StatusNoContent {
		return "", fmt.Errorf("%s %s: status %d: %s", method, path, a.status, a.body)
	}
	return a.body, nil
}

// turns are those of all instances of the application.
type turns struct {
	t      *testing.T
	client *http.Client

	// writes is called before an entry is written, where it is set.
	writes func(host *ledger, entry string)

	mu      sync.Mutex
	running map[string][]*oneTurn
	firings map[string]int
	// count is how many turns there were, collisions how many met another and were not cut off.
	count, collisions int
}

type oneTurn struct {
	ctx   context.Context
	host  *ledger
	stops int64
	// met is set when another turn of the actor began meanwhile.
	met bool
}

func newTurns(t *testing.T) *turns {
	t.Helper()
	return &turns{t: t, client: client(t), running: map[string][]*oneTurn{}, firings: map[string]int{}}
}

// begin notes a turn. A turn that another one meets has to be cut off: by its sidecar, or with it.
func (s *turns) begin(ctx context.Context, host *ledger, id string) (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.running[id] {
		other.met = true
	}
	mine := &oneTurn{ctx: ctx, host: host, stops: host.stops.Load()}
	s.running[id] = append(s.running[id], mine)
	s.count++
	return func() {
		s.mu.Lock()
		s.running[id] = slices.DeleteFunc(s.running[id], func(o *oneTurn) bool { return o == mine })
		met := mine.met
		s.mu.Unlock()
		if !met || host.stops.Load() != mine.stops {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(patience / 8): // passes only when the test fails
			s.mu.Lock()
			s.collisions++
			s.mu.Unlock()
			s.t.Errorf("two turns of actor %s ran at once, and the first was not cut off", id)
		}
	}
}

// check waits until every reminder that was acknowledged has fired.
func (s *turns) check(t *testing.T, promised []string) {
	t.Helper()
	missing := func() (names []string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, name := range promised {
			if s.firings[name] == 0 {
				names = append(names, name)
			}
		}
		return names
	}
	defer func() {
		lost, more := len(missing()), 0
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, times := range s.firings {
			more += times - 1
		}
		t.Logf("%d turns, %d of them at once with another; %d reminders, %d of them lost, %d fired once more", s.count, s.collisions, len(promised), lost, more)
	}()
	for deadline := time.Now().Add(patience); len(missing()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("these reminders were acknowledged and have not fired: %s", missing())
			return
		}
	}
}

func (s *turns) fired(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.firings[name]++
}

// deed is a call that a client made: what it asked for, and what it knows of it.
type deed struct {
	actor, name string
	call, back  time.Time
	// at is the place that was answered, -1 when the call failed: it may have been made, or may be made later.
	at int
}

// history is what all clients did.
type history struct {
	mu       sync.Mutex
	deeds    []deed
	promised []string // the reminders that were acknowledged
}

// check holds the entries against what the actors have in the end: each acknowledged one is where it was said to be, and
// all of them are as if made one after the other, each between its call and its answer.
func (h *history) check(t *testing.T, kept map[string][]string) {
	t.Helper()
	var (
		operations []porcupine.Operation
		begin      = h.deeds[0].call
		end        = time.Now().Add(time.Hour)
		unknown    int
		lost       int
	)
	for client, e := range h.deeds {
		at := slices.Index(kept[e.actor], e.name)
		switch {
		case e.at >= 0 && at != e.at:
			lost++
			t.Errorf("actor %s: entry %s was acknowledged as number %d and is number %d", e.actor, e.name, e.at, at)
		case e.at < 0:
			unknown++
			e.back = end
			if at < 0 {
				continue
			}
		}
		operations = append(operations, porcupine.Operation{ClientId: client, Input: e.actor, Output: at,
			Call: int64(e.call.Sub(begin)), Return: int64(e.back.Sub(begin))})
	}
	model := porcupine.Model{
		Partition: byActor,
		Init:      func() any { return 0 },
		Step:      func(length, _, at any) (bool, any) { return length == at, length.(int) + 1 },
	}
	if result := porcupine.CheckOperationsTimeout(model, operations, patience); result != porcupine.Ok {
		t.Errorf("the history cannot have come of one turn after the other: %s", result)
	}
	t.Logf("%d calls of %d actors, %d of them without an answer that says what became of them; %d acknowledged entries are lost",
		len(h.deeds), len(kept), unknown, lost)
}

func byActor(operations []porcupine.Operation) (parts [][]porcupine.Operation) {
	of := map[string][]porcupine.Operation{}
	for _, o := range operations {
		of[o.Input.(string)] = append(of[o.Input.(string)], o)
	}
	for _, part := range of {
		parts = append(parts, part)
	}
	return parts
}
