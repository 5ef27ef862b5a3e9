package pubsubtest

import (
	"bytes"
	"maps"
	"slices"
	"sync"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/pubsub"
)

func (f *fixture) verbatim() {
	b, in := f.open(), newInbox()
	f.subscribe(b, f.topic, pubsub.Batch{}, in.take)
	for name, data := range map[string][]byte{
		"text": []byte("text"), "JSON": []byte(`{"a": 1}`), "nothing": {}, "every byte": everyByte(), "a line": []byte("a\r\nb\n"), "large": bytes.Repeat([]byte("0123456789abcdef"), 32<<10),
	} {
		metadata := map[string]string{"kind": name, "tracestate": "a=b", "Größe": "äöü\n"}
		if err := b.Publish(f.Context(), &pubsub.PublishRequest{Topic: f.topic, Data: data, ContentType: "text/x-test", Metadata: metadata}); err != nil {
			f.Fatalf("%s: %v", name, err)
		}
		got := in.next(f)
		if !bytes.Equal(got.Data, data) {
			f.Errorf("%s: %d bytes came as %d others", name, len(data), len(got.Data))
		}
		if got.ContentType != "text/x-test" && got.ContentType != "" {
			f.Errorf("%s: the content type came as %q", name, got.ContentType)
		}
		// A broker may add of its own.
		for key, value := range metadata {
			if len(got.Metadata) > 0 && got.Metadata[key] != value {
				f.Errorf("%s: metadata %s came as %q, want %q", name, key, got.Metadata[key], value)
			}
		}
	}
}

func everyByte() []byte {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return all
}

func (f *fixture) ownership() {
	b, in := f.open(), newInbox()
	hold := make(chan struct{})
	f.subscribe(b, f.topic, pubsub.Batch{}, each(func(m *pubsub.Message) error { <-hold; in <- m; return nil }))
	request := &pubsub.PublishRequest{Topic: f.topic, Data: []byte("before"), Metadata: map[string]string{"k": "before"}}
	kept := maps.Clone(request.Metadata)
	if err := b.Publish(f.Context(), request); err != nil {
		f.Fatal(err)
	}
	if string(request.Data) != "before" || !maps.Equal(request.Metadata, kept) {
		f.Error("the broker has changed the request")
	}
	copy(request.Data, "after!")
	request.Metadata["k"], request.Topic = "after", "another"
	close(hold)
	if m := in.next(f); string(m.Data) != "before" || m.Metadata["k"] == "after" || m.Topic != f.topic {
		f.Errorf("%q, %v of topic %s came", m.Data, m.Metadata, m.Topic)
	}
}

func (f *fixture) established() {
	b := f.open()
	for range 20 {
		in := newInbox()
		s := f.subscribe(b, f.topic, pubsub.Batch{}, in.take)
		f.publish(b, f.topic, "a")
		in.next(f)
		s.end()
	}
}

func (f *fixture) topics() {
	b, one, two := f.open(), newInbox(), newInbox()
	f.subscribe(b, f.topic+"-one", pubsub.Batch{}, one.take)
	f.subscribe(b, f.topic+"-two", pubsub.Batch{}, two.take)
	for range 10 {
		f.publish(b, f.topic+"-one", "1")
		f.publish(b, f.topic+"-two", "2")
	}
	got := append(one.texts(f, 10), two.texts(f, 10)...)
	if diff := cmp.Diff(append(slices.Repeat([]string{"1"}, 10), slices.Repeat([]string{"2"}, 10)...), got); diff != "" {
		f.Error(diff)
	}
}

// times counts deliveries of messages by their data, and remembers the ids under which they came.
type times struct {
	mu    sync.Mutex
	count map[string]int
	ids   map[string][]string
}

func newTimes() *times { return &times{count: map[string]int{}, ids: map[string][]string{}} }

func (c *times) add(m *pubsub.Message) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := string(m.Data)
	c.count[name]++
	c.ids[name] = append(c.ids[name], m.ID)
	return c.count[name]
}

func (f *fixture) again() {
	b, in, seen := f.open(), newInbox(), newTimes()
	f.subscribe(b, f.topic, pubsub.Batch{}, each(func(m *pubsub.Message) error {
		if seen.add(m) < 4 {
			return errRefused
		}
		in <- m
		return nil
	}))
	f.publish(b, f.topic, "a", "b")
	got := in.texts(f, 2)
	slices.Sort(got)
	if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" {
		f.Error(diff)
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	for name, ids := range seen.ids {
		if len(slices.Compact(slices.Clone(ids))) != 1 {
			f.Errorf("%s came under several ids: %q", name, ids)
		}
	}
	if a, b := seen.ids["a"][0], seen.ids["b"][0]; a == b && a != "" {
		f.Errorf("two messages have one id: %q", a)
	}
}

func (f *fixture) once() {
	b, in := f.open(), newInbox()
	refused := false
	f.subscribe(b, f.topic, pubsub.Batch{}, each(func(m *pubsub.Message) error {
		in <- m
		if string(m.Data) == "again" && !refused {
			refused = true
			return errRefused
		}
		return nil
	}))
	f.publish(b, f.topic, "once")
	first := in.texts(f, 1)
	f.publish(b, f.topic, "again")
	second := in.texts(f, 2)
	f.publish(b, f.topic, "last")
	if diff := cmp.Diff([]string{"once", "again", "again", "last"}, slices.Concat(first, second, in.texts(f, 1))); diff != "" {
		f.Error(diff)
	}
}

func (f *fixture) others() {
	b, in := f.open(), newInbox()
	well := make(chan struct{})
	f.subscribe(b, f.topic, pubsub.Batch{}, each(func(m *pubsub.Message) error {
		select {
		case <-well:
		default:
			if string(m.Data) == "poison" {
				return errRefused
			}
		}
		in <- m
		return nil
	}))
	f.publish(b, f.topic, append([]string{"poison"}, numbers(100)...)...)
	got := in.texts(f, 100)
	slices.Sort(got)
	want := numbers(100)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		f.Error(diff)
	}
	close(well)
	if m := in.next(f); string(m.Data) != "poison" {
		f.Errorf("%q came, want the one that failed", m.Data)
	}
}

func (f *fixture) order() {
	b, in := f.open(), newInbox()
	f.publishEither(b, numbers(500)[:250])
	f.subscribe(b, f.topic, pubsub.Batch{}, in.take)
	start := 250
	if f.Keeps {
		start = 0
	}
	f.publish(b, f.topic, numbers(500)[250:]...)
	if diff := cmp.Diff(numbers(500)[start:], in.texts(f, 500-start)); diff != "" {
		f.Error(diff)
	}
}

// publishEither publishes where messages are kept for those who come later.
func (f *fixture) publishEither(b pubsub.Broker, data []string) {
	if f.Keeps {
		f.publish(b, f.topic, data...)
	}
}

func (f *fixture) orderOverFailures() {
	b, in, seen := f.open(), newInbox(), newTimes()
	f.subscribe(b, f.topic, pubsub.Batch{}, each(func(m *pubsub.Message) error {
		if m.Data[len(m.Data)-1] == '7' && seen.add(m) < 3 {
			return errRefused
		}
		in <- m
		return nil
	}))
	f.publish(b, f.topic, numbers(30)...)
	if diff := cmp.Diff(numbers(30), in.texts(f, 30)); diff != "" {
		f.Error(diff)
	}
}
