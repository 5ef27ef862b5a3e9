// Package locktest is the conformance suite of lock stores: every store runs it against the real thing. It knows the
// contract of package lock only.
package locktest

import (
	"crypto/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/daprd/daprd/pkg/lock"
)

// Run holds the store against the contract.
func Run(t *testing.T, store lock.Store) {
	for name, run := range map[string]func(*testing.T, lock.Store, string){
		"one owner":        oneOwner,
		"not re-entrant":   notReentrant,
		"others' lock":     othersLock,
		"expiry":           expiry,
		"one of many wins": race,
	} {
		t.Run(name, func(t *testing.T) { run(t, store, "resource-"+rand.Text()) })
	}
}

func take(t *testing.T, store lock.Store, resource, owner string, expiry time.Duration) bool {
	t.Helper()
	taken, err := store.TryLock(t.Context(), resource, owner, expiry)
	if err != nil {
		t.Fatal(err)
	}
	return taken
}

func free(t *testing.T, store lock.Store, resource, owner string, want lock.Status) {
	t.Helper()
	if got, err := store.Unlock(t.Context(), resource, owner); err != nil || got != want {
		t.Errorf("unlock by %s: %d, %v; want %d", owner, got, err, want)
	}
}

func oneOwner(t *testing.T, store lock.Store, resource string) {
	free(t, store, resource, "a", lock.NotLocked)
	if !take(t, store, resource, "a", time.Minute) {
		t.Fatal("a free lock is refused")
	}
	if take(t, store, resource, "b", time.Minute) {
		t.Error("a lock has two owners")
	}
	free(t, store, resource, "a", lock.Unlocked)
	if !take(t, store, resource, "b", time.Minute) {
		t.Error("a lock that was freed is refused")
	}
	free(t, store, resource, "b", lock.Unlocked)
}

func notReentrant(t *testing.T, store lock.Store, resource string) {
	take(t, store, resource, "a", time.Minute)
	if take(t, store, resource, "a", time.Minute) {
		t.Error("the same owner gets the lock twice")
	}
	free(t, store, resource, "a", lock.Unlocked)
	free(t, store, resource, "a", lock.NotLocked)
}

func othersLock(t *testing.T, store lock.Store, resource string) {
	take(t, store, resource, "a", time.Minute)
	free(t, store, resource, "b", lock.OthersLock)
	if take(t, store, resource, "b", time.Minute) {
		t.Error("somebody else has freed the lock")
	}
	free(t, store, resource, "a", lock.Unlocked)
}

// expiry asks until the lock is free: no signal tells of it.
func expiry(t *testing.T, store lock.Store, resource string) {
	take(t, store, resource, "a", time.Second)
	for deadline := time.Now().Add(30 * time.Second); !take(t, store, resource, "b", time.Minute); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a lock of one second does not expire")
		}
	}
	free(t, store, resource, "a", lock.OthersLock)
}

func race(t *testing.T, store lock.Store, resource string) {
	var won atomic.Int32
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			taken, err := store.TryLock(t.Context(), resource, string(rune('a'+i)), time.Minute)
			if err != nil {
				t.Error(err)
			}
			if taken {
				won.Add(1)
			}
		})
	}
	wait.Wait()
	if n := won.Load(); n != 1 {
		t.Errorf("%d owners have the lock", n)
	}
}
