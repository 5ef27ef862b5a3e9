package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/google/go-cmp/cmp"
	logrustest "github.com/sirupsen/logrus/hooks/test"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/configuration"
)

var _ components.Factory[configuration.Store] = NewConfiguration

func openConfiguration(t testing.TB, spec *components.Spec) *configurationStore {
	t.Helper()
	opened, err := NewConfiguration(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.(*configurationStore).Close() })
	return opened.(*configurationStore)
}

// put writes pairs of key and text.
func put(t testing.TB, client goredis.Cmdable, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if err := client.Set(t.Context(), pairs[i], pairs[i+1], 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

type items = map[string]configuration.Item

// follow subscribes as the block does and gives the changes. It ends with the test at the latest.
func follow(t testing.TB, s *configurationStore, keys ...string) (changes <-chan items, end func()) {
	t.Helper()
	service := configuration.NewService(configuration.Deps{Log: s.log})
	if err := service.Add("config", s); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	all, established, ended := make(chan items, 1000), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- service.Watch(ctx, "config", keys, nil, func(string) error {
			close(established)
			return nil
		}, func(_ string, changed map[string]configuration.Item) error {
			all <- changed
			return nil
		})
	}()
	select {
	case <-established:
	case err := <-ended:
		cancel()
		t.Fatalf("subscribe: %v", err)
	}
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the subscription ended with %v", err)
		}
	})
	t.Cleanup(end)
	return all, end
}

func TestConfigurationGet(t *testing.T) {
	single := redistest.Start(t)
	nodes := redistest.StartCluster(t)
	t.Run("node", func(t *testing.T) {
		testConfigurationGet(t, openConfiguration(t, componentstest.FromReadme(t, "configuration.redis", "localhost:6379", single.Address)))
	})
	t.Run("cluster", func(t *testing.T) {
		testConfigurationGet(t, openConfiguration(t, spec(nodes[0].Address, "redisType", "cluster")))
	})
}

func testConfigurationGet(t *testing.T, s *configurationStore) {
	put(t, s.client, "plain", "v1", "versioned", "v1||1", "more", "v1||1||2", "empty", "", "only version", "||3")
	if err := s.client.HSet(t.Context(), "hash", "f", "v").Err(); err != nil {
		t.Fatal(err)
	}
	all := items{"plain": {Value: "v1"}, "versioned": {Value: "v1", Version: "1"}, "more": {Value: "v1", Version: "1"}, "only version": {Version: "3"}}
	for name, c := range map[string]struct {
		keys []string
		want items
	}{
		"some": {[]string{"plain", "versioned", "absent", "hash", "empty"}, items{"plain": all["plain"], "versioned": all["versioned"]}},
		"none": {[]string{"absent"}, items{}},
		"all":  {nil, all},
	} {
		got, err := s.Get(t.Context(), c.keys, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	var pairs []string
	want := maps.Clone(all)
	for i := range 2*chunk + 1 {
		key := fmt.Sprint("key", i)
		pairs = append(pairs, key, "x")
		want[key] = configuration.Item{Value: "x"}
	}
	put(t, s.client, pairs...)
	got, err := s.Get(t.Context(), nil, nil)
	if err != nil || !cmp.Equal(want, got) {
		t.Errorf("many: %d items, %v", len(got), err)
	}
}

func TestConfigurationSubscribe(t *testing.T) {
	server := redistest.Start(t)
	client := direct(t, server.Address)
	for name, keys := range map[string][]string{"keys": {"a", "b*"}, "all": nil} {
		t.Run(name, func(t *testing.T) {
			put(t, client, "a", "before", "b*", "before", "other", "before")
			changes, end := follow(t, openConfiguration(t, spec(server.Address)), keys...)
			// No first values, nor keys that nobody asked for.
			put(t, client, "a", "v||1")
			if diff := cmp.Diff(items{"a": {Value: "v", Version: "1"}}, <-changes); diff != "" {
				t.Error(diff)
			}
			put(t, client, "b*", "w")
			if diff := cmp.Diff(items{"b*": {Value: "w"}}, <-changes); diff != "" {
				t.Error(diff)
			}
			put(t, client, "bb", "x")
			if keys == nil {
				if diff := cmp.Diff(items{"bb": {Value: "x"}}, <-changes); diff != "" {
					t.Error(diff)
				}
			}
			// Equal writes are told, and so are keys that go.
			put(t, client, "b*", "w")
			if diff := cmp.Diff(items{"b*": {Value: "w"}}, <-changes); diff != "" {
				t.Error(diff)
			}
			client.Del(t.Context(), "a")
			if diff := cmp.Diff(items{"a": {}}, <-changes); diff != "" {
				t.Error(diff)
			}
			client.PExpire(t.Context(), "b*", time.Millisecond)
			// First comes the event that the key will expire.
			for change := range changes {
				if gone, ok := change["b*"]; ok && gone.Value == "" {
					break
				}
			}
			end()
		})
	}
}

// TestConfigurationLoss: changes that happen while the connection is lost are told when it is back, each once.
func TestConfigurationLoss(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	put(t, direct(t, server.Address), "a", "1", "b", "1", "c", "1")
	one, _ := follow(t, openConfiguration(t, spec(server.Address)), "a", "b", "c", "d")
	all, _ := follow(t, openConfiguration(t, spec(server.Address)))
	server.Kill()
	// The server is back on another port first, where the watches do not look.
	elsewhere := redistest.StartAt(t, server, "--appendonly", "yes", "--appendfsync", "always")
	client := direct(t, elsewhere.Address)
	put(t, client, "a", "2", "d", "1")
	client.Del(t.Context(), "b")
	elsewhere.Kill()
	server.Restart(t)
	want := items{"a": {Value: "2"}, "b": {}, "d": {Value: "1"}}
	for name, changes := range map[string]<-chan items{"keys": one, "all": all} {
		got := items{}
		for len(got) < len(want) {
			maps.Copy(got, <-changes)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	put(t, direct(t, server.Address), "c", "2")
	for name, changes := range map[string]<-chan items{"keys": one, "all": all} {
		if diff := cmp.Diff(items{"c": {Value: "2"}}, <-changes); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// ofSlots gives, for each of three nodes of a cluster, a key that stands there.
func ofSlots(t *testing.T, nodes []*redistest.Server) (keys []string) {
	t.Helper()
	for n := range nodes {
		for i := 0; ; i++ {
			key := fmt.Sprint("key", i)
			slot, err := direct(t, nodes[0].Address).ClusterKeySlot(t.Context(), key).Result()
			if err != nil {
				t.Fatal(err)
			}
			if int(slot)*len(nodes)/16384 == n {
				keys = append(keys, key)
				break
			}
		}
	}
	return keys
}

// TestConfigurationCluster: in a cluster the changes of every node's keys are told, also of a node that goes and comes
// back, and of one that joins later and takes slots over.
func TestConfigurationCluster(t *testing.T) {
	servers := redistest.StartCluster(t)
	keys := ofSlots(t, servers)
	s := openConfiguration(t, spec(servers[0].Address, "redisType", "cluster", "redisMaxRetries", "1", "redisDB", "3")) // there is 0 alone
	s.quiet = 20 * time.Millisecond
	chosen, _ := follow(t, s, keys...)
	all, _ := follow(t, s)
	both := map[string]<-chan items{"keys": chosen, "all": all}
	// A change in the moment in which a subscription is made anew may be told twice.
	var last items
	expect := func(key, value string) {
		t.Helper()
		want := items{key: {Value: value}}
		for name, changes := range both {
			got := <-changes
			for cmp.Equal(last, got) {
				got = <-changes
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		last = want
	}
	for _, key := range keys {
		put(t, s.client, key, "1")
		expect(key, "1")
	}
	// A node that ends takes its keys along.
	servers[1].Kill()
	servers[1].Restart(t)
	expect(keys[1], "")
	redistest.Eventually(t, "the cluster is whole again", func() error { return s.client.Set(t.Context(), keys[1], "2", 0).Err() })
	expect(keys[1], "2")
	// What a new node has is told by it alone.
	s.client.Del(t.Context(), keys[2])
	expect(keys[2], "")
	slot, err := s.client.ClusterKeySlot(t.Context(), keys[2]).Result()
	if err != nil {
		t.Fatal(err)
	}
	joined := redistest.Join(t, servers, int(slot))
	put(t, s.client, keys[2], "there")
	expect(keys[2], "there")
	if n, err := direct(t, joined.Address).DBSize(t.Context()).Result(); err != nil || n != 1 {
		t.Errorf("the new node has %d keys, %v", n, err)
	}
	put(t, s.client, keys[0], "2")
	expect(keys[0], "2")
}

func TestConfigurationDatabase(t *testing.T) {
	server := redistest.Start(t)
	changes, _ := follow(t, openConfiguration(t, spec(server.Address, "redisDB", "3")), "a")
	put(t, direct(t, server.Address), "a", "elsewhere")
	client := goredis.NewClient(&goredis.Options{Addr: server.Address, DB: 3})
	defer client.Close()
	put(t, client, "a", "here")
	if diff := cmp.Diff(items{"a": {Value: "here"}}, <-changes); diff != "" {
		t.Error(diff)
	}
}

func TestNotifications(t *testing.T) {
	for flags, want := range map[string]string{"": "Kg$xe", "KA": "", "A": "K", "Kg$xe": "", "KEx": "g$e", "lh": "Kg$xe"} {
		if got := lacking(flags); got != want {
			t.Errorf("%q lacks %q, want %q", flags, got, want)
		}
	}
	// Those that others need stay.
	server := redistest.Start(t, "--notify-keyspace-events", "El")
	follow(t, openConfiguration(t, spec(server.Address)), "a")
	got, err := direct(t, server.Address).ConfigGet(t.Context(), "notify-keyspace-events").Result()
	if err != nil || len(got) != 2 || lacking(fmt.Sprint(got[1])) != "" || !strings.Contains(fmt.Sprint(got[1]), "El") && !strings.ContainsAny(fmt.Sprint(got[1]), "lA") {
		t.Errorf("notifications are %v, %v", got, err)
	}
}

// TestForbiddenNotifications: a subscription that would see no changes is refused, with what to do about it; one of which
// nobody knows is made, with one warning.
func TestForbiddenNotifications(t *testing.T) {
	for name, c := range map[string]struct {
		flags, rules   string
		fails, warning string
	}{
		"off, nothing allowed":   {"", "-config", "", `does not show its notify-keyspace-events: if it is not at least Kg$xe, changes are not seen; whoever runs the server sets it, or allows the ACL user +config|get and +config|set`},
		"off, may be asked for":  {"", "-config +config|get", `changes would not be seen: the server's notify-keyspace-events is "", must be at least Kg$xe, and cannot be set (NOPERM`, ""},
		"of others":              {"Ex", "-config +config|get", `is "xE"`, ""},
		"not all":                {"K$", "-config +config|get", "", `is "$K", must be at least Kg$xe for every change to be seen, and cannot be set: NOPERM`},
		"enough":                 {"KA", "-config +config|get", "", ""},
		"channels not allowed":   {"KA", "resetchannels", "(the ACL user must be allowed the channels of the notifications: ACL SETUSER … &__keyspace@0__:*)", ""},
		"subscribe not allowed":  {"KA", "-subscribe", "(the ACL user must be allowed to run this command)", ""},
		"keys not to be read":    {"KA", "resetkeys ~other", "key a: NOPERM", ""},
		"everything not allowed": {"", "-@all +ping", "NOPERM", "does not show"},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t, append([]string{"--notify-keyspace-events", c.flags, "--user", "narrow", "on", ">pass", "~*", "&*", "+@all"}, strings.Fields(c.rules)...)...)
			log, hook := logrustest.NewNullLogger()
			manifest := spec(server.Address, "redisUsername", "narrow", "redisPassword", "pass")
			manifest.Log = log
			service := configuration.NewService(configuration.Deps{Log: log})
			if err := service.Add("config", openConfiguration(t, manifest)); err != nil {
				t.Fatal(err)
			}
			hook.Reset()
			for range 2 {
				err := service.Watch(t.Context(), "config", []string{"a"}, nil, func(string) error { return errEnough }, nil)
				if text := errorText(err); c.fails == "" && !errors.Is(err, errEnough) || !strings.Contains(text, c.fails) {
					t.Errorf("error %v, want %q", err, c.fails)
				}
			}
			entries := hook.AllEntries()
			if want := min(len(c.warning), 1); len(entries) != want || want == 1 && !strings.Contains(entries[0].Message, c.warning) {
				t.Errorf("%d lines, want %q: %v", len(entries), c.warning, entries)
			}
		})
	}
}

var errEnough = errors.New("enough")

// TestNotificationsSwitchedOff: somebody else sets the server's notifications to those that he needs. The subscription
// switches on its own again, and tells what it has not seen.
func TestNotificationsSwitchedOff(t *testing.T) {
	server := redistest.Start(t)
	s := openConfiguration(t, spec(server.Address))
	s.quiet = 20 * time.Millisecond
	changes, _ := follow(t, s, "a")
	client := direct(t, server.Address)
	if err := client.ConfigSet(t.Context(), "notify-keyspace-events", "Ex").Err(); err != nil {
		t.Fatal(err)
	}
	put(t, client, "a", "unseen")
	if diff := cmp.Diff(items{"a": {Value: "unseen"}}, <-changes); diff != "" {
		t.Error(diff)
	}
	put(t, client, "a", "seen")
	if diff := cmp.Diff(items{"a": {Value: "seen"}}, <-changes); diff != "" {
		t.Error(diff)
	}
	if got, err := client.ConfigGet(t.Context(), "notify-keyspace-events").Result(); err != nil || !strings.ContainsRune(fmt.Sprint(got[1]), 'E') {
		t.Errorf("%v, %v", got, err)
	}
}

func TestConfigurationRefusals(t *testing.T) {
	if _, err := NewConfiguration(t.Context(), spec("127.0.0.1:1", "redisMaxRetries", "-1")); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("error %v", err)
	}
	server := redistest.Start(t)
	s := openConfiguration(t, spec(server.Address, "redisMaxRetries", "-1"))
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	server.Kill()
	if _, err := s.Get(t.Context(), []string{"a"}, nil); err == nil || !strings.Contains(err.Error(), server.Address) {
		t.Errorf("get: %v", err)
	}
	if _, err := s.Get(t.Context(), nil, nil); err == nil || !strings.Contains(err.Error(), server.Address) {
		t.Errorf("get all: %v", err)
	}
	err := s.Subscribe(t.Context(), []string{"a"}, nil, func() { t.Error("established") }, nil)
	if err == nil || !strings.Contains(err.Error(), server.Address) {
		t.Errorf("subscribe: %v", err)
	}
}
