package reminders

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// captured is a store as Dapr 1.7.1 left it after a step.
func captured(t testing.TB, partitions, step string) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/actors-1.7.1-partitions" + partitions + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var steps []struct {
		Name string            `json:"name"`
		Keys map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(text, &steps); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(steps, func(s struct {
		Name string            `json:"name"`
		Keys map[string]string `json:"keys"`
	}) bool {
		return strings.HasPrefix(s.Name, step)
	})
	if i < 0 {
		t.Fatalf("no step %q", step)
	}
	return steps[i].Keys
}

func (s *shelf) put(keys map[string]string) {
	s.set(func(s *shelf) {
		for key, value := range keys {
			s.version++
			s.items[key] = shelved{value, fmt.Sprint(s.version)}
		}
	})
}

// old are the keys that are not of this package.
func (s *shelf) old() (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.items {
		if !strings.HasPrefix(key, keyPrefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// TestMoveCaptured: what Dapr 1.7.1 has stored is found, fires when it would have, and its lists are gone.
func TestMoveCaptured(t *testing.T) {
	for _, partitions := range []string{"0", "3"} {
		t.Run(partitions, func(t *testing.T) {
			shelves(t, func(t *testing.T, s *shelf) {
				synctest.Test(t, func(t *testing.T) {
					time.Sleep(time.Until(capturedAt)) // the bubble's clock is behind: it begins in 2000
					s.put(captured(t, partitions, "reminder f firing"))
					s.put(map[string]string{"myapp||T||a1||k": "state"})
					h := newHost(t, s)
					h.Settled([]string{"T"})
					h.walks.Wait()
					all, err := h.List(t.Context(), "T", "")
					if err != nil {
						t.Fatal(err)
					}
					var got []string
					for _, r := range all {
						got = append(got, fmt.Sprintf("%s/%s %s %s %s", r.ActorID, r.Name, r.Data, r.DueTime, r.Period))
					}
					if diff := cmp.Diff([]string{
						`a1/f "fire" 0s 1s`, `a1/r1 "some data" 1h0m0s 3h0m0s`, `a1/r2 {"a":1} PT2H R5/PT30M`, `a1/r3  2030-01-02T03:04:05Z `,
						`a2/r 2 3h 1h`, `a3/r 3 3h 1h`, `a4/r 4 3h 1h`, `a5/r 5 3h 1h`, `a6/r 6 3h 1h`}, got); diff != "" {
						t.Error(diff)
					}
					if diff := cmp.Diff([]string{"myapp||T||a1||k"}, s.old()); diff != "" {
						t.Error(diff)
					}
					if err := h.Delete(t.Context(), "T", "a1", "f"); err != nil {
						t.Error(err)
					}
					synctest.Wait() // one that is under way may still fire
					before := len(h.firings())
					time.Sleep(5 * time.Hour)
					synctest.Wait()
					count := map[string]int{}
					for _, f := range h.firings()[before:] {
						count[f.Name]++
					}
					// Registered at 13:52: r1 is due at 14:52 and 17:52, r2 five times from 15:52, the others at 16:52, 17:52 and 18:52.
					want := map[string]int{"a1/r1": 2, "a1/r2": 5, "a2/r": 3, "a3/r": 3, "a4/r": 3, "a5/r": 3, "a6/r": 3}
					if diff := cmp.Diff(want, count); diff != "" {
						t.Error(diff)
					}
					h.end()
				})
			})
		})
	}
}

// capturedAt is when the captures were made.
var capturedAt = time.Date(2026, 11, 22, 13, 54, 0, 0, time.UTC)

// oldStore is what Dapr 1.7 would have of reminders that are all over the life of one: not fired, fired, over.
func oldStore(partitions int) map[string]string {
	keys := map[string]string{}
	lists := make([][]map[string]any, max(partitions, 1))
	now := time.Now()
	for i := range 12 {
		id := fmt.Sprint("a", i)
		r := map[string]any{"actorID": id, "actorType": "T", "name": "r", "data": i, "period": "R3/PT10S", "dueTime": "10s",
			"registeredTime": now.Add(10 * time.Second).Format(time.RFC3339)}
		switch i % 4 {
		case 1: // has fired once, and fires twice more
			r["registeredTime"] = now.Add(-5 * time.Second).Format(time.RFC3339)
			keys["T||"+id+"||r"] = fmt.Sprintf(`{"lastFiredTime":%q,"repetitionLeft":2}`, now.Add(-5*time.Second).Format(time.RFC3339))
		case 2: // is over, as is one whose time to live has ended
			keys["T||"+id+"||r"] = fmt.Sprintf(`{"lastFiredTime":%q,"repetitionLeft":0}`, now.Add(-5*time.Second).Format(time.RFC3339))
		case 3:
			r["expirationTime"] = now.Add(-time.Second).Format(time.RFC3339)
		}
		lists[i%len(lists)] = append(lists[i%len(lists)], r)
	}
	if partitions == 0 {
		keys["actors||T"] = string(encode(lists[0]))
		return keys
	}
	for i, list := range lists {
		keys[fmt.Sprintf("actors||T||some-id||reminders||%d", i+1)] = string(encode(list))
	}
	keys["actors||T||metadata"] = fmt.Sprintf(`{"id":"some-id","actorRemindersMetadata":{"partitionCount":%d}}`, partitions)
	// The list from before the partitions, with a reminder that was deleted since.
	keys["actors||T"] = `[{"actorID":"gone","actorType":"T","name":"r","data":null,"period":"","dueTime":"","registeredTime":"2020-01-01T00:00:00Z"}]`
	return keys
}

// firedOld is how often each of oldStore fires.
var firedOld = map[string]int{"a0/r": 3, "a4/r": 3, "a8/r": 3, "a1/r": 2, "a5/r": 2, "a9/r": 2}

func counts(hosts ...*host) map[string]int {
	count := map[string]int{}
	for _, h := range hosts {
		for _, f := range h.firings() {
			count[f.Name]++
		}
	}
	return count
}

// TestMoveKilled: whenever a sidecar ends while it moves reminders over, the next goes on, none is lost and none fires
// more often than it would have.
func TestMoveKilled(t *testing.T) {
	for _, partitions := range []int{0, 3} {
		kills(t, func(t *testing.T, s *shelf) { s.put(oldStore(partitions)) },
			func(t *testing.T, h *host) error { _, err := h.open(t.Context(), "T"); return err },
			func(t *testing.T, h *host, _ bool) {
				time.Sleep(time.Minute)
				synctest.Wait()
				if diff := cmp.Diff(firedOld, counts(h)); diff != "" {
					t.Error(diff)
				}
				if left := h.deps.Storage.(*shelf).old(); len(left) > 0 {
					t.Errorf("still there: %v", left)
				}
			})
	}
}

// TestMoveTogether: sidecars that move the same reminders over at once, each slower than the other somewhere, lose none;
// none fires more often than it would have, nor after it was deleted.
func TestMoveTogether(t *testing.T) {
	for _, partitions := range []int{0, 3} {
		for slow := range 60 {
			synctest.Test(t, func(t *testing.T) {
				s := newShelf()
				s.half = slow%2 == 0
				s.put(oldStore(partitions))
				b := newHost(t, s)
				// One of the two stands still at its n-th step while the other finishes, fires, and deletes one.
				stands := &standing{shelf: s, at: slow}
				a := newHost(t, stands)
				a.owns(nil)
				moved := make(chan error, 1)
				go func() { _, err := a.open(t.Context(), "T"); moved <- err }()
				synctest.Wait()
				b.Settled([]string{"T"})
				b.walks.Wait()
				if err := b.Delete(t.Context(), "T", "a4", "r"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				stands.release()
				if err := <-moved; err != nil && !errors.Is(err, errMoved) {
					t.Fatal(err)
				}
				a.owns(everywhere)
				a.Settled([]string{"T"})
				a.walks.Wait()
				time.Sleep(time.Minute)
				synctest.Wait()
				want := maps.Clone(firedOld)
				delete(want, "a4/r")
				if diff := cmp.Diff(want, counts(a, b)); diff != "" {
					t.Errorf("partitions %d, standing at %d: %s", partitions, slow, diff)
				}
				if left := s.old(); len(left) > 0 {
					t.Errorf("still there: %v", left)
				}
				a.end()
				b.end()
			})
			if t.Failed() {
				return
			}
		}
	}
}
