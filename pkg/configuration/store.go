// Package configuration is the configuration building block: the contract of configuration stores, and the Service
// that reads items and brings their changes to whoever subscribed. It knows no wire: no HTTP, no protobuf.
package configuration

import "context"

// Store is what every configuration store can do. Its methods may be called by many goroutines at once. A store that
// has io.Closer is closed at the end.
type Store interface {
	// Get reads the items of keys, all items for no keys. Keys that are absent are left out.
	Get(ctx context.Context, keys []string, metadata map[string]string) (map[string]Item, error)
	// Subscribe hands changes of the items of keys, of all items for no keys, to changed until ctx ends. It calls
	// established once it would see the next change, and returns an error when the subscription could not be made
	// or is lost: whoever subscribed tries again.
	Subscribe(ctx context.Context, keys []string, metadata map[string]string, established func(), changed func(map[string]Item)) error
}

// Item is one configuration item; a deleted one has neither value nor version.
type Item struct {
	Value, Version string
	Metadata       map[string]string
}
