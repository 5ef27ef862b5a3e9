package pubsub

import (
	"sync"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
)

// remembered bounds the messages whose failures a subscription counts. When more fail at once the oldest count is
// forgotten, and its message begins anew.
const remembered = 10000

// attempts counts how often the application has refused each message. Deliveries that did not reach it do not count.
type attempts struct {
	mu     sync.Mutex
	counts *lru.LRU[string, int]
}

func newAttempts() *attempts {
	counts, _ := lru.NewLRU[string, int](remembered, nil) // it fails for a size of 0 only
	return &attempts{counts: counts}
}

// failed counts a failure and gives how many there were; a message without id cannot be told from others and fails for
// the first time each time.
func (a *attempts) failed(id string) int {
	if id == "" {
		return 1
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	count, _ := a.counts.Get(id)
	count++
	a.counts.Add(id, count)
	return count
}

// done forgets a message.
func (a *attempts) done(c *consumer, m *Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.counts.Len() > 0 {
		a.counts.Remove(c.name(m))
	}
}
