// Package configuration is the configuration building block: the contract of configuration stores, and the Service
// that reads items and brings their changes to whoever subscribed. It knows no wire: no HTTP, no protobuf.
package configuration

import (
	"context"
	"hash/maphash"
)

// Store is what every configuration store can do. Its methods may be called by many goroutines at once. A store that
// has io.Closer is closed at the end.
type Store interface {
	// Get reads the items of keys, all items for no keys. Keys that are absent are left out.
	Get(ctx context.Context, keys []string, metadata map[string]string) (map[string]Item, error)
	// Subscribe hands changes of the items of keys, of all items for no keys, to changed until ctx ends. It calls
	// established once it would see the next change, and returns an error when the subscription could not be made
	// or is lost: whoever subscribed tries again, and reads the items to find what was missed.
	Subscribe(ctx context.Context, keys []string, metadata map[string]string, established func(), changed func(map[string]Item)) error
}

// Item is one configuration item; a deleted one has neither value nor version.
type Item struct {
	Value, Version string
	Metadata       map[string]string
}

// gone says that there is no item.
func (i Item) gone() bool { return i.Value == "" && i.Version == "" }

var seed = maphash.MakeSeed()

// hash stands for value and version.
func (i Item) hash() uint64 { return maphash.Comparable(seed, [2]string{i.Value, i.Version}) }
