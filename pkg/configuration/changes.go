package configuration

import (
	"maps"
	"slices"
)

// listen remembers what the store tells of, until compare.
func (b *subscription) listen() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard = map[string]struct{}{}
}

// compare learns the items that were read, the first time, and later tells those that differ from what is known.
func (b *subscription) compare(items map[string]Item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	differ := map[string]Item{}
	for key, item := range items {
		if known, ok := b.known[key]; !ok && !item.gone() || ok && known != item.hash() {
			differ[key] = item
		}
	}
	for key := range b.known {
		if _, ok := items[key]; !ok {
			differ[key] = Item{}
		}
	}
	for key := range b.heard {
		delete(differ, key)
	}
	b.heard = nil
	b.note(differ)
	if b.read {
		b.queue(differ)
	}
	b.read = true
}

// note remembers items as known. The caller has mu.
func (b *subscription) note(items map[string]Item) {
	for key, item := range items {
		if item.gone() {
			delete(b.known, key)
		} else {
			b.known[key] = item.hash()
		}
	}
}

// change keeps what the store tells until it is taken.
func (b *subscription) change(items map[string]Item) {
	items = textual(items)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.note(items)
	if b.heard != nil {
		for key := range items {
			b.heard[key] = struct{}{}
		}
	}
	b.queue(items)
}

// queue keeps items until they are taken. The caller has mu.
func (b *subscription) queue(items map[string]Item) {
	if len(items) == 0 {
		return
	}
	if b.changed == nil {
		b.changed = make(map[string]Item, len(items))
	}
	for _, key := range slices.Sorted(maps.Keys(items)) {
		if _, waits := b.changed[key]; !waits {
			b.turns = append(b.turns, key)
		}
		b.changed[key] = items[key]
	}
	select {
	case b.arrived <- struct{}{}:
	default:
	}
}

// next takes the item whose turn it is.
func (b *subscription) next() (key string, item Item, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.turns) == 0 {
		b.changed, b.turns = nil, nil
		return "", Item{}, false
	}
	key, b.turns = b.turns[0], b.turns[1:]
	item = b.changed[key]
	delete(b.changed, key)
	return key, item, true
}

// deliver hands changes over until the subscription ends.
func (b *subscription) deliver(send func(id string, items map[string]Item) error) error {
	for {
		select {
		case <-b.ctx.Done():
			return nil
		case <-b.arrived:
		}
		for key, item, ok := b.next(); ok && b.ctx.Err() == nil; key, item, ok = b.next() {
			if err := send(b.id, map[string]Item{key: item}); err != nil {
				return err
			}
		}
	}
}
