// Package configurationtest is the conformance suite of configuration stores: every store runs it against the real
// thing. It knows the contract of package configuration only.
package configurationtest

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/configuration"
)

// Server changes what the store under test reads, as its users do.
type Server interface {
	Put(t *testing.T, key, value, version string)
	Remove(t *testing.T, key string)
}

// patience only ever passes when a test fails.
const patience = 30 * time.Second

// Run holds the store against the contract.
func Run(t *testing.T, store configuration.Store, server Server) {
	for name, run := range map[string]func(*testing.T, configuration.Store, Server, string){
		"get": get, "changes": changes, "all keys": allKeys, "the end": end,
	} {
		t.Run(name, func(t *testing.T) { run(t, store, server, rand.Text()) })
	}
}

func get(t *testing.T, store configuration.Store, server Server, prefix string) {
	server.Put(t, prefix+"a", "1", "v1")
	server.Put(t, prefix+"b", "2", "")
	items, err := store.Get(t.Context(), []string{prefix + "a", prefix + "b", prefix + "absent"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][2]string{prefix + "a": {"1", "v1"}, prefix + "b": {"2", ""}}, plain(items)); diff != "" {
		t.Error(diff)
	}
	all, err := store.Get(t.Context(), nil, nil)
	if err != nil || all[prefix+"a"].Value != "1" || all[prefix+"b"].Value != "2" {
		t.Errorf("all items: %v, %v", all, err)
	}
}

func plain(items map[string]configuration.Item) map[string][2]string {
	texts := map[string][2]string{}
	for key, item := range items {
		texts[key] = [2]string{item.Value, item.Version}
	}
	return texts
}

// watch subscribes and gives the changes as they come.
func watch(t *testing.T, store configuration.Store, keys []string) (changes chan map[string]configuration.Item, end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	changes = make(chan map[string]configuration.Item, 100)
	established, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- store.Subscribe(ctx, keys, nil, func() { close(established) }, func(items map[string]configuration.Item) { changes <- items })
	}()
	select {
	case <-established:
	case err := <-ended:
		t.Fatalf("it ended with %v", err)
	case <-time.After(patience):
		t.Fatal("the subscription is not established")
	}
	return changes, func() error {
		cancel()
		return <-ended
	}
}

// expect waits for a key to have a value; other news may come before.
func expect(t *testing.T, changes chan map[string]configuration.Item, key, value, version string) {
	t.Helper()
	for {
		select {
		case items := <-changes:
			if item, ok := items[key]; ok && item.Value == value && item.Version == version {
				return
			}
		case <-time.After(patience):
			t.Fatalf("%s did not become %q %q", key, value, version)
		}
	}
}

func changes(t *testing.T, store configuration.Store, server Server, prefix string) {
	server.Put(t, prefix+"k", "old", "1")
	news, end := watch(t, store, []string{prefix + "k"})
	server.Put(t, prefix+"other", "x", "")
	server.Put(t, prefix+"k", "new", "2")
	expect(t, news, prefix+"k", "new", "2")
	server.Remove(t, prefix+"k")
	expect(t, news, prefix+"k", "", "")
	if err := end(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func allKeys(t *testing.T, store configuration.Store, server Server, prefix string) {
	news, end := watch(t, store, nil)
	server.Put(t, prefix+"a", "1", "")
	expect(t, news, prefix+"a", "1", "")
	server.Put(t, prefix+"b", "2", "v")
	expect(t, news, prefix+"b", "2", "v")
	if err := end(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// end: nothing comes after a subscription has ended.
func end(t *testing.T, store configuration.Store, server Server, prefix string) {
	news, end := watch(t, store, []string{prefix + "k"})
	if err := end(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	server.Put(t, prefix+"k", "late", "")
	again, endAgain := watch(t, store, []string{prefix + "k"})
	server.Put(t, prefix+"k", "later", "")
	expect(t, again, prefix+"k", "later", "")
	if len(news) > 0 {
		t.Errorf("a subscription that has ended was told %v", <-news)
	}
	if err := endAgain(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}
