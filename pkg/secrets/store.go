// Package secrets is the secrets building block: the contract of secret stores, and the Service that
// applies the Configuration's scopes. It knows no wire, and no secret's value ever reaches a log or an
// error from here.
package secrets

import "context"

// Store is what every secret store can do. Both methods may be called by many goroutines at once.
type Store interface {
	// Secret reads one secret: its values by key. A store with single values uses the secret's name as the
	// only key. An unknown name is an error; a nil map means that the store has nothing to say (204).
	Secret(ctx context.Context, name string, metadata map[string]string) (map[string]string, error)
	// All reads every secret.
	All(ctx context.Context, metadata map[string]string) (map[string]map[string]string, error)
}

// Featured names the capabilities that the metadata API lists, "MULTIPLE_KEY_VALUES_PER_SECRET" for one.
type Featured interface{ Features() []string }
