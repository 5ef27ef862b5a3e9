package memory

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/state"
	"github.com/daprd/daprd/pkg/state/statetest"
)

var _ components.Factory[state.Store] = NewState

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB) *stateStore {
	store, err := NewState(t.Context(), componentstest.Spec("state.in-memory", nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.(io.Closer).Close(); err != nil {
			t.Error(err)
		}
	})
	return store.(*stateStore)
}

func TestConformance(t *testing.T) {
	statetest.Run(t, func(t *testing.T) state.Store { return open(t) }, statetest.Options{})
}

func TestFeatures(t *testing.T) {
	want := []state.Feature{"ETAG", "TRANSACTIONAL", "TTL"}
	if diff := cmp.Diff(want, open(t).Features()); diff != "" {
		t.Error(diff)
	}
}

func TestRefusalsSayWhy(t *testing.T) {
	store := open(t)
	set(t, store, "app||k", "v", nil)
	current, other := get(t, store, "app||k").ETag, "other"
	cases := []struct {
		name string
		err  error
		want string
	}{
		{"first write of a key that exists",
			store.Set(t.Context(), &state.SetRequest{Key: "app||k", Concurrency: state.FirstWrite}),
			"possible etag mismatch. error from state store: item already exists and no etag was passed"},
		{"first write delete without a tag",
			store.Delete(t.Context(), &state.DeleteRequest{Key: "app||k", Concurrency: state.FirstWrite}),
			"possible etag mismatch. error from state store: item already exists and no etag was passed"},
		{"tag on an absent key",
			store.Set(t.Context(), &state.SetRequest{Key: "app||none", ETag: &other}),
			"possible etag mismatch. error from state store: state not exist or expired for key=app||none"},
		{"wrong tag",
			store.Delete(t.Context(), &state.DeleteRequest{Key: "app||k", ETag: &other}),
			"possible etag mismatch. error from state store: state etag not match for key=app||k: current=" + current + ", expect=other"},
		{"time to live that is no number",
			store.Set(t.Context(), &state.SetRequest{Key: "app||k", Metadata: map[string]string{"ttlInSeconds": "abc"}}),
			`strconv.ParseInt: parsing "abc": invalid syntax`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.err == nil || c.err.Error() != c.want {
				t.Errorf("error %v, want %s", c.err, c.want)
			}
		})
	}
	if item := get(t, store, "app||k"); string(item.Value) != "v" || item.ETag != current {
		t.Errorf("refused writes left %+v", item)
	}
}

func TestTimeToLive(t *testing.T) {
	cases := []struct {
		seconds string
		want    time.Duration
	}{
		{"", 0}, {"0", 0}, {"-1", 0}, {"-5", 0}, {"1", time.Second}, {"9223372036854775807", maxTTL},
	}
	for _, c := range cases {
		got, err := ttlOf(map[string]string{"ttlInSeconds": c.seconds})
		if got != c.want || err != nil {
			t.Errorf("%q: %v, %v, want %v", c.seconds, got, err, c.want)
		}
	}
}

// A key ends to the nanosecond for readers and writers, and leaves the memory with the next sweep.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := open(t)
		time.Sleep(sweepInterval / 2) // so that the key ends between two sweeps
		set(t, store, "k", "v", map[string]string{"ttlInSeconds": "10"})
		want := map[string]string{"ttlExpireTime": time.Now().Add(10 * time.Second).UTC().Format(time.RFC3339)}
		if diff := cmp.Diff(want, get(t, store, "k").Metadata); diff != "" {
			t.Error(diff)
		}
		tag := get(t, store, "k").ETag
		time.Sleep(10*time.Second - 1)
		if !get(t, store, "k").Found {
			t.Error("gone before its time")
		}
		time.Sleep(time.Nanosecond)
		if get(t, store, "k").Found {
			t.Error("there after its time")
		}
		_, refused := state.IsETag(store.Set(t.Context(), &state.SetRequest{Key: "k", ETag: &tag}))
		if !refused {
			t.Error("an expired key counts as existing")
		}
	})
}

func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := open(t)
		set(t, store, "stays", "v", nil)
		for i := range 5000 {
			key := strconv.Itoa(i)
			set(t, store, key, "v", map[string]string{"ttlInSeconds": strconv.Itoa(i%40 + 1)})
			switch i % 5 {
			case 1:
				set(t, store, key, "v", nil)
			case 2:
				set(t, store, key, "v", map[string]string{"ttlInSeconds": "1000"})
			case 3:
				if err := store.Delete(t.Context(), &state.DeleteRequest{Key: key}); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(52 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([2]int{1 + 1000 + 1000, 1000}, sizes(store)); diff != "" {
			t.Error("records and expiring records after 52 s:", diff)
		}
		time.Sleep(1000 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([2]int{1 + 1000, 0}, sizes(store)); diff != "" {
			t.Error("records and expiring records after 1052 s:", diff)
		}
	})
}

// sizes counts records, and those that expire.
func sizes(s *stateStore) [2]int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return [2]int{len(s.records), len(s.expiring)}
}

func TestCloseTwice(t *testing.T) {
	store := open(t)
	set(t, store, "k", "v", nil)
	if err := errors.Join(store.Close(), store.Close()); err != nil {
		t.Error(err)
	}
	if get(t, store, "k").Found {
		t.Error("content after close")
	}
}

func TestETagsAreUUIDs(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		tag := newETag()
		id, err := uuid.Parse(tag)
		if err != nil || id.Version() != 4 || id.Variant() != uuid.RFC4122 || seen[tag] {
			t.Fatalf("tag %q: %v", tag, err)
		}
		seen[tag] = true
	}
}

func set(t *testing.T, store state.Store, key, value string, metadata map[string]string) {
	t.Helper()
	if err := store.Set(t.Context(), &state.SetRequest{Key: key, Value: []byte(value), Metadata: metadata}); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, store state.Store, key string) *state.Item {
	t.Helper()
	item, err := store.Get(t.Context(), &state.GetRequest{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return item
}

func BenchmarkService(b *testing.B) {
	service := state.NewService(state.Deps{AppID: "myapp"})
	if err := service.Add("statestore", open(b), state.Settings{}); err != nil {
		b.Fatal(err)
	}
	value := make([]byte, 1024)
	keys := make([]string, 1024)
	items := make([]state.SetRequest, len(keys))
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%d", i)
		items[i] = state.SetRequest{Key: keys[i], Value: value}
	}
	if err := service.Set(b.Context(), "statestore", items); err != nil {
		b.Fatal(err)
	}
	get := func(i int) error {
		_, err := service.Get(b.Context(), "statestore", state.GetRequest{Key: keys[i%len(keys)]})
		return err
	}
	set := func(i int) error {
		at := i % len(keys)
		return service.Set(b.Context(), "statestore", items[at:at+1])
	}
	for _, c := range []struct {
		name string
		run  func(int) error
	}{{"get", get}, {"set", set}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if err := c.run(i); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
