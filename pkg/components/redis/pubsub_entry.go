package redis

import (
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-redis/redis/v8"

	"github.com/daprd/daprd/pkg/pubsub"
)

// The fields of an entry, as Dapr names them.
const (
	fieldData     = "data"
	fieldMetadata = "metadata"
)

// fields are an entry's, for a message without metadata too: Dapr 1.18 writes an empty object.
func fields(req *pubsub.PublishRequest) []any {
	metadata := []byte("{}")
	if len(req.Metadata) > 0 {
		metadata, _ = json.Marshal(req.Metadata) // texts always have a JSON form
	}
	return []any{fieldData, req.Data, fieldMetadata, metadata}
}

// entry is one entry of a stream in hand of a subscription.
type entry struct {
	of      *subscription
	message pubsub.Message
	// touched is when the server last took this process for the one that has the entry, or somewhat later. The
	// ledger guards it.
	touched time.Time
	// due is when a failed entry is delivered again.
	due time.Time
}

// read makes an entry of what the server sent. Entries of other programs may lack either field, and metadata that is
// no object of texts counts as none.
func read(of *subscription, sent redis.XMessage) *entry {
	e := &entry{of: of, message: pubsub.Message{ID: sent.ID, Topic: of.topic}}
	if data, ok := sent.Values[fieldData].(string); ok {
		e.message.Data = []byte(data)
	}
	if text, ok := sent.Values[fieldMetadata].(string); ok && text != "{}" {
		if json.Unmarshal([]byte(text), &e.message.Metadata) != nil {
			e.message.Metadata = nil
		}
	}
	return e
}

// after is the id that follows id: milliseconds, a dash, a count. It is id itself where id is none.
func after(id string) string {
	milliseconds, count, _ := strings.Cut(id, "-")
	number, err := strconv.ParseUint(count, 10, 64)
	if err != nil || number+1 == 0 {
		return id
	}
	return milliseconds + "-" + strconv.FormatUint(number+1, 10)
}

// ledger knows the entries that this process has in hand, over all subscriptions: none is claimed away from itself,
// and none that the server hands out again, having forgotten that it did, is delivered beside itself.
type ledger struct {
	mu   sync.Mutex
	held map[place]*entry
}

type place struct{ topic, id string }

func newLedger() *ledger { return &ledger{held: map[place]*entry{}} }

func (e *entry) place() place { return place{e.message.Topic, e.message.ID} }

// take adds an entry that the server has just handed out. false means that it is in hand already.
func (l *ledger) take(e *entry) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if held, ok := l.held[e.place()]; ok {
		held.touched = now
		return false
	}
	e.touched = now
	l.held[e.place()] = e
	return true
}

func (l *ledger) has(topic, id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.held[place{topic, id}]
	return ok
}

func (l *ledger) drop(entries []*entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		delete(l.held, e.place())
	}
}

// of are the entries that a subscription has in hand.
func (l *ledger) of(s *subscription) (entries []*entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.held {
		if e.of == s {
			entries = append(entries, e)
		}
	}
	return entries
}

// age is how long ago the server last took this process for the one that has the entry.
func (l *ledger) age(e *entry) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(e.touched)
}

func (l *ledger) touch(e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.touched = time.Now()
}
