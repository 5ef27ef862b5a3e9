package memory

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/pubsub"
)

// reading is a subscription that a test ends.
func reading(t *testing.T, b pubsub.Broker, topic string, durable bool, deliver pubsub.Handler) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	established, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- b.Subscribe(ctx, &pubsub.SubscribeRequest{Topic: topic, Durable: durable, Established: func() { close(established) }}, deliver)
	}()
	<-established
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func send(ctx context.Context, b pubsub.Broker, topic, data string) error {
	return b.Publish(ctx, &pubsub.PublishRequest{Topic: topic, Data: []byte(data)})
}

// TestFullQueue: a publisher waits for room as long as it can, and is told what is full; nothing accepted is lost.
func TestFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openBroker(t, map[string]string{"queueDepth": "2"})
		var got []string
		release := make(chan struct{})
		end := reading(t, b, "t", true, func(_ context.Context, messages []*pubsub.Message) []error {
			<-release
			got = append(got, string(messages[0].Data))
			return nil
		})
		for i := range 3 { // one is in hand, two wait
			if err := send(t.Context(), b, "t", fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		brief, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := send(brief, b, "t", "refused")
		const want = "the subscription to topic t holds 2 messages, as many as it may (queueDepth), and its application is slower than its publishers: "
		if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v", err)
		}
		waiting := make(chan error, 1)
		go func() { waiting <- send(t.Context(), b, "t", "3") }()
		synctest.Wait()
		if len(waiting) > 0 {
			t.Errorf("a full queue took a message: %v", <-waiting)
		}
		close(release)
		if err := <-waiting; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		end()
		if all := strings.Join(got, " "); all != "0 1 2 3" {
			t.Errorf("delivered: %s", all)
		}
	})
}

// TestIdleQueue: a durable subscription that pauses keeps up to queueDepth messages, in their order; one more is an
// error at once, since nobody knows when there will be room. What failed last comes first.
func TestIdleQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openBroker(t, map[string]string{"queueDepth": "2"})
		refuse := func(_ context.Context, messages []*pubsub.Message) []error { return []error{errors.New("not now")} }
		end := reading(t, b, "t", true, refuse)
		if err := send(t.Context(), b, "t", "0"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		end()
		for _, data := range []string{"1", "2"} {
			if err := send(t.Context(), b, "t", data); err != nil {
				t.Fatal(err)
			}
		}
		const want = "the subscription to topic t holds 2 messages, as many as it may (queueDepth), and its application does not take any for now"
		if err := send(t.Context(), b, "t", "3"); err == nil || err.Error() != want {
			t.Errorf("error %v", err)
		}
		var got []string
		end = reading(t, b, "t", true, func(_ context.Context, messages []*pubsub.Message) []error {
			got = append(got, string(messages[0].Data))
			return nil
		})
		synctest.Wait()
		end()
		if all := strings.Join(got, " "); all != "0 1 2" {
			t.Errorf("delivered: %s", all)
		}
	})
}

// TestForgotten: what a subscription that does not come back has left is dropped, so that it holds up nobody.
func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openBroker(t, map[string]string{"queueDepth": "1"})
		for _, durable := range []bool{true, false} {
			end := reading(t, b, "t*", durable, func(context.Context, []*pubsub.Message) []error { return nil })
			end()
			if durable {
				b.(pubsub.Forgetter).Forget("t*")
			}
			for range 3 {
				if err := send(t.Context(), b, "tt", "x"); err != nil {
					t.Errorf("durable %v: %v", durable, err)
				}
			}
		}
	})
}

// TestPace: the pauses between the deliveries of a message grow, and have an end.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openBroker(t, map[string]string{"redeliverInterval": "1s"})
		var pauses []time.Duration
		last, calls := time.Now(), 0
		done := make(chan struct{})
		end := reading(t, b, "t", false, func(context.Context, []*pubsub.Message) []error {
			pauses = append(pauses, time.Since(last))
			last = time.Now()
			if calls++; calls == 9 {
				close(done)
				return nil
			}
			return []error{errors.New("not now")}
		})
		if err := send(t.Context(), b, "t", "x"); err != nil {
			t.Fatal(err)
		}
		<-done
		end()
		if got := fmt.Sprint(pauses); got != "[0s 1s 2s 4s 8s 16s 30s 30s 30s]" {
			t.Error(got)
		}
	})
}

func TestUnusableSettings(t *testing.T) {
	for property, values := range map[string][]string{"queueDepth": {"0", "-1", "1000001", "x"}, "concurrency": {"0", "1001", "x"}, "redeliverInterval": {"0", "-1s", "x"}} {
		for _, value := range values {
			_, err := NewPubSub(t.Context(), componentstest.Spec("pubsub.in-memory", map[string]string{property: value}))
			if err == nil || !strings.Contains(err.Error(), property) {
				t.Errorf("%s %s: %v", property, value, err)
			}
		}
	}
}

// TestPoisonAmongWorkers: a message that failed keeps no worker from the others while it waits for its turn, and comes
// back when that is there.
func TestPoisonAmongWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openBroker(t, map[string]string{"concurrency": "2", "redeliverInterval": "1s"})
		var poison, others atomic.Int32
		end := reading(t, b, "t", false, func(_ context.Context, messages []*pubsub.Message) []error {
			if string(messages[0].Data) == "poison" {
				if poison.Add(1) <= 3 {
					return []error{errors.New("not now")}
				}
				return nil
			}
			others.Add(1)
			return nil
		})
		for _, text := range []string{"poison", "a", "poison", "b", "poison", "c", "d"} {
			if err := send(t.Context(), b, "t", text); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if n := others.Load(); n != 4 {
			t.Errorf("%d of the others came", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := poison.Load(); n != 6 {
			t.Errorf("those that failed were delivered %d times", n)
		}
		end()
	})
}

// TestPoisonIsBounded: messages that wait for their turn count as those that a subscription holds.
func TestPoisonIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openBroker(t, map[string]string{"concurrency": "2", "redeliverInterval": "1h", "queueDepth": "3"})
		var tried atomic.Int32
		end := reading(t, b, "t", false, func(context.Context, []*pubsub.Message) []error {
			tried.Add(1)
			return []error{errors.New("not now")}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		taken := 0
		for send(ctx, b, "t", "poison") == nil {
			if taken++; taken > 100 {
				t.Fatal("publishers never wait")
			}
			synctest.Wait()
		}
		if n := tried.Load(); n != 3 && n != 4 { // the other worker was waiting for a message before
			t.Errorf("%d messages wait for their turn, want queueDepth, and one for the other worker", n)
		}
		end()
	})
}

// TestNothingKept: a subscription at rest keeps no message that was handled, not even one that failed before.
func TestNothingKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openBroker(t, nil)
		var seen []weak.Pointer[pubsub.Message]
		end := reading(t, b, "t", true, func(_ context.Context, messages []*pubsub.Message) []error {
			seen = append(seen, weak.Make(messages[0]))
			if len(seen) == 1 {
				return []error{errors.New("once more")}
			}
			return nil
		})
		for range 2 {
			if err := send(t.Context(), b, "t", "large"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		runtime.GC()
		for i, message := range seen {
			if message.Value() != nil {
				t.Errorf("the message of delivery %d of %d is kept", i, len(seen))
			}
		}
		end()
	})
}
