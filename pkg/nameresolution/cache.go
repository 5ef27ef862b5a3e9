package nameresolution

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// CacheTTL is how long Dapr remembers the addresses of a target.
	CacheTTL = 20 * time.Second
	// CacheSize is how many targets are remembered: more than one sidecar calls
	// in practice, and little enough (some 100 KiB) to need no setting.
	CacheSize = 1024
	// lookupTimeout bounds a shared lookup, which no single caller's deadline
	// may end. The slowest resolver (mDNS) needs one second.
	lookupTimeout = 5 * time.Second
)

var errCacheClosed = errors.New("name resolution is closed")

// Cache is a Resolver that remembers the addresses which another one found.
// Failures are not remembered, but callers that ask for the same target at the
// same time share one lookup.
type Cache struct {
	resolver Resolver
	ttl      time.Duration
	size     int
	now      func() time.Time

	lookups sync.WaitGroup

	mu      sync.RWMutex
	entries map[Target]cacheEntry
	running map[Target]*lookup
	done    bool
}

type cacheEntry struct {
	addresses []string
	expires   time.Time
}

type lookup struct {
	cancel    context.CancelFunc
	finished  chan struct{}
	addresses []string
	err       error
}

// NewCache remembers up to size targets of the resolver, each for ttl. The
// resolver stays the caller's to close, after the cache.
func NewCache(resolver Resolver, ttl time.Duration, size int) *Cache {
	return &Cache{
		resolver: resolver,
		ttl:      ttl,
		size:     max(size, 1),
		now:      time.Now,
		entries:  map[Target]cacheEntry{},
		running:  map[Target]*lookup{},
	}
}

// Resolve gives remembered addresses, or those of a lookup that it starts or
// joins. It allocates nothing when the target is remembered.
func (c *Cache) Resolve(ctx context.Context, target Target) ([]string, error) {
	c.mu.RLock()
	entry, ok := c.entries[target]
	c.mu.RUnlock()
	if ok && c.now().Before(entry.expires) {
		return entry.addresses, nil
	}
	l, err := c.join(ctx, target)
	if err != nil {
		return nil, err
	}
	select {
	case <-l.finished:
		return l.addresses, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Forget drops an address that did not serve, and tells the resolver if that one
// remembers too. When it was the target's last one the next Resolve looks anew.
func (c *Cache) Forget(target Target, address string) {
	c.drop(target, address)
	if f, ok := c.resolver.(Forgetter); ok {
		f.Forget(target, address)
	}
}

// Close ends the lookups that are under way and waits for them.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.done = true
	for _, l := range c.running {
		l.cancel()
	}
	c.mu.Unlock()
	c.lookups.Wait()
	return nil
}

func (c *Cache) drop(target Target, address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	entry, ok := c.entries[target]
	if !ok || !slices.Contains(entry.addresses, address) {
		return
	}
	// Callers hold the old slice.
	entry.addresses = slices.DeleteFunc(slices.Clone(entry.addresses), func(a string) bool { return a == address })
	if len(entry.addresses) == 0 {
		delete(c.entries, target)
		return
	}
	c.entries[target] = entry
}

func (c *Cache) join(ctx context.Context, target Target) (*lookup, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return nil, errCacheClosed
	}
	if l, ok := c.running[target]; ok {
		return l, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
	l := &lookup{cancel: cancel, finished: make(chan struct{})}
	c.running[target] = l
	c.lookups.Add(1)
	go c.run(ctx, target, l)
	return l, nil
}

func (c *Cache) run(ctx context.Context, target Target, l *lookup) {
	defer c.lookups.Done()
	l.addresses, l.err = c.resolver.Resolve(ctx, target)
	l.cancel()
	if l.err == nil && len(l.addresses) == 0 {
		l.err = &NotFoundError{AppID: target.AppID}
	}
	c.finish(target, l)
}

func (c *Cache) finish(target Target, l *lookup) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, target)
	if l.err == nil {
		c.makeRoom(target)
		c.entries[target] = cacheEntry{addresses: l.addresses, expires: c.now().Add(c.ttl)}
	}
	close(l.finished)
}

// makeRoom drops what has expired, and if that is not enough the entry that would
// expire first.
func (c *Cache) makeRoom(target Target) {
	if _, ok := c.entries[target]; ok || len(c.entries) < c.size {
		return
	}
	var oldest Target
	var expires time.Time
	now := c.now()
	for t, entry := range c.entries {
		if !now.Before(entry.expires) {
			delete(c.entries, t)
			continue
		}
		if expires.IsZero() || entry.expires.Before(expires) {
			oldest, expires = t, entry.expires
		}
	}
	if len(c.entries) >= c.size {
		delete(c.entries, oldest)
	}
}
