package reminders

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// spoil puts what cannot be read among the reminders of oldStore, and gives what has to stay: keys and values.
func spoil(keys map[string]string, partitions int) (stays map[string]string) {
	due := `"registeredTime":"` + time.Now().Add(10*time.Second).Format(time.RFC3339) + `"`
	bad := []string{
		`{"actorID":"b0","name":"r","data":"<b>","period":"every full moon","dueTime":"",` + due + `}`,
		`{"actorID":"b1","name":"r","data":1,"period":"","dueTime":"","registeredTime":"tomorrow"}`,
		`{"actorID":"b2","name":"r","data":1,"period":"","dueTime":"",` + due + `,"expirationTime":"never"}`,
		`{"actorID":3,"name":"r","data":1,"period":"","dueTime":"",` + due + `}`,
		`"no reminder"`,
		`null`,
		`{"name":"nobody's","data":1,"period":"","dueTime":"",` + due + `}`,
		`{"actorID":"` + strings.Repeat("b", maxName+1) + `","name":"long","data":1,"period":"","dueTime":"",` + due + `}`,
		// The tracks of these two are spoilt.
		`{"actorID":"b8","name":"r","data":1,"period":"PT10S","dueTime":"",` + due + `}`,
		`{"actorID":"b9","name":"r","data":1,"period":"PT10S","dueTime":"",` + due + `}`,
	}
	stays = map[string]string{"T||b8||r": `{"lastFiredTime":"noon"}`, "T||b9||r": `spilt`}
	// add has bad ones around and between those of a list.
	add := func(key string, bad ...string) {
		var list []json.RawMessage
		if err := json.Unmarshal([]byte(keys[key]), &list); err != nil {
			panic(err)
		}
		var all []string
		for i := range max(len(list), len(bad)) {
			if i < len(bad) {
				all = append(all, bad[i])
			}
			if i < len(list) {
				all = append(all, string(list[i]))
			}
		}
		keys[key] = "[" + strings.Join(all, ",\n") + "]"
		stays[key] = "[" + strings.Join(bad, ",") + "]"
	}
	if partitions == 0 {
		add("actors||T", bad...)
	} else {
		// The first partition can be read as a whole, the last not at all.
		add("actors||T||some-id||reminders||2", bad[:5]...)
		add("actors||T||some-id||reminders||3", bad[5:]...)
		stays["actors||T||metadata"] = fmt.Sprintf(`{"id":"some-id","actorRemindersMetadata":{"partitionCount":%d}}`, partitions+1)
		stays[fmt.Sprint("actors||T||some-id||reminders||", partitions+1)] = `{"no":"list"}`
	}
	for key, value := range stays {
		if keys[key] == "" || key == "actors||T||metadata" {
			keys[key] = value
		}
	}
	return stays
}

// oldValues are the keys that are not of this package, with their values.
func (s *shelf) oldValues() map[string]string {
	all := map[string]string{}
	for _, key := range s.old() {
		s.set(func(s *shelf) { all[key] = s.items[key].value })
	}
	return all
}

// again is the next start of a sidecar, and a minute of it.
func again(t *testing.T, s *shelf) *host {
	h := newHost(t, s)
	h.Settled([]string{"T"})
	h.walks.Wait()
	time.Sleep(time.Minute)
	synctest.Wait()
	return h
}

// TestUnreadable: what Dapr 1.7 has stored and cannot be read stays where it is, and the rest is moved over once, whenever
// a sidecar ends meanwhile. Later starts write nothing and tell of it. What is corrected is moved over then.
func TestUnreadable(t *testing.T) {
	for _, partitions := range []int{0, 3} {
		var stays map[string]string
		kills(t, func(t *testing.T, s *shelf) {
			keys := oldStore(partitions)
			stays = spoil(keys, partitions)
			s.put(keys)
		},
			func(t *testing.T, h *host) error { _, err := h.open(t.Context(), "T"); return err },
			func(t *testing.T, h *host, _ bool) {
				s := h.deps.Storage.(*shelf)
				time.Sleep(time.Minute)
				synctest.Wait()
				if diff := cmp.Diff(firedOld, counts(h)); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(stays, s.oldValues()); diff != "" {
					t.Error(diff)
				}
				h.end()
				version := s.version
				next := again(t, s)
				next.Settled([]string{"T"})
				next.walks.Wait()
				if s.version != version || len(next.firings()) > 0 {
					t.Errorf("the next start has written %d times and fired %v", s.version-version, next.firings())
				}
				for text, n := range map[string]int{"moving over": 0, "reminder r of the actor T/b1": 1, `"tomorrow"`: 1, "T||b8||r": 1, "T||b9||r": 1, "stays there": 10 + min(partitions, 1)} {
					if told := next.told(text); told != n {
						t.Errorf("%q is told %d times, not %d", text, told, n)
					}
				}
				next.end()
				// The reminders of one list are corrected, and a track.
				key := "actors||T"
				if partitions > 0 {
					key = "actors||T||some-id||reminders||3"
				}
				was := s.oldValues()[key]
				due := time.Now().UTC().Format(time.RFC3339)
				s.put(map[string]string{
					key:        strings.ReplaceAll(was, "null", `{"actorID":"c","name":"r","data":null,"period":"","dueTime":"","registeredTime":"`+due+`"}`),
					"T||b9||r": `{"lastFiredTime":"` + due + `","repetitionLeft":1}`})
				delete(stays, "T||b9||r")
				cut := strings.LastIndex(stays[key], ",{")
				stays[key] = strings.Replace(stays[key][:cut], "null,", "", 1) + "]"
				next = again(t, s)
				if diff := cmp.Diff(map[string]int{"b9/r": 1, "c/r": 1}, counts(next)); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(stays, s.oldValues()); diff != "" {
					t.Error(diff)
				}
			})
	}
}

// TestUnreadableMetadata: where it cannot be known which lists count, none is touched, and the type's other reminders
// work. Once it is known they are moved over.
func TestUnreadableMetadata(t *testing.T) {
	for name, metadata := range map[string]string{"no JSON": `{`, "too many": `{"id":"some-id","actorRemindersMetadata":{"partitionCount":1000000}}`, "none": `{"actorRemindersMetadata":{"partitionCount":"3"}}`} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, keys := newShelf(), oldStore(3)
				good := keys["actors||T||metadata"]
				keys["actors||T||metadata"] = metadata
				s.put(keys)
				h := newHost(t, s)
				h.Settled([]string{"T"})
				h.walks.Wait()
				h.create(t, Reminder{Name: "own", DueTime: "10s"})
				time.Sleep(time.Minute)
				synctest.Wait()
				if diff := cmp.Diff(map[string]int{"a/own": 1}, counts(h)); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(keys, s.oldValues()); diff != "" {
					t.Error(diff)
				}
				if n := h.told("actors||T||metadata"); n != 1 {
					t.Errorf("it is told %d times", n)
				}
				h.end()
				s.put(map[string]string{"actors||T||metadata": good})
				next := again(t, s)
				// All that are due since have fired at once.
				for name := range firedOld {
					if counts(next)[name] == 0 {
						t.Errorf("%s has not fired", name)
					}
				}
				if left := s.old(); len(left) > 0 {
					t.Errorf("still there: %v", left)
				}
				next.end()
			})
		})
	}
}

// TestUnreadableTogether: sidecars that move such reminders over at once, each slower than the other somewhere, leave the
// same behind.
func TestUnreadableTogether(t *testing.T) {
	for _, partitions := range []int{0, 3} {
		for slow := range 90 {
			synctest.Test(t, func(t *testing.T) {
				s := newShelf()
				s.half = slow%2 == 0
				keys := oldStore(partitions)
				stays := spoil(keys, partitions)
				s.put(keys)
				b := newHost(t, s)
				stands := &standing{shelf: s, at: slow}
				a := newHost(t, stands)
				a.owns(nil)
				moved := make(chan error, 1)
				go func() { _, err := a.open(t.Context(), "T"); moved <- err }()
				synctest.Wait()
				b.Settled([]string{"T"})
				b.walks.Wait()
				time.Sleep(time.Minute)
				stands.release()
				if err := <-moved; err != nil {
					t.Fatal(err)
				}
				a.owns(everywhere)
				a.Settled([]string{"T"})
				a.walks.Wait()
				time.Sleep(time.Minute)
				synctest.Wait()
				if diff := cmp.Diff(firedOld, counts(a, b)); diff != "" {
					t.Errorf("partitions %d, standing at %d: %s", partitions, slow, diff)
				}
				if diff := cmp.Diff(stays, s.oldValues()); diff != "" {
					t.Errorf("partitions %d, standing at %d: %s", partitions, slow, diff)
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
