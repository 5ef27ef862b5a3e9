// Package lock is the distributed lock building block: the contract of lock stores, and the Service that holds the
// block's whole meaning (key prefixes, checks). It knows no wire: no HTTP, no protobuf.
//
// A lock is a lease. It keeps well-behaved owners apart while the store is reachable, its clock runs evenly and it does
// not fail over to a replica that has not heard of the lock. It promises no more: an owner that was paused past the
// expiry may still believe that it holds the lock, and nothing fences what it writes then.
package lock

import (
	"context"
	"time"
)

// Store is what every lock store can do. Resources are complete already (prefix included). Its methods may be called
// by many goroutines at once. A store that has io.Closer is closed at the end.
type Store interface {
	// TryLock takes the lock of resource for owner unless somebody has it, the same owner included, and never
	// waits. The lock is free again after expiry at the latest.
	TryLock(ctx context.Context, resource, owner string, expiry time.Duration) (bool, error)
	// Unlock frees the lock of resource if owner has it.
	Unlock(ctx context.Context, resource, owner string) (Status, error)
}

// Status is how an unlock went, with the numbers of the protocol.
type Status int

// The outcomes of an unlock.
const (
	Unlocked Status = iota
	NotLocked
	OthersLock
	InternalError
)
