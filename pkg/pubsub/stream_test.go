package pubsub_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/pubsub"
)

// client holds a stream open.
type client func(ctx context.Context) (channel.TopicAnswer, error)

func (c client) Deliver(ctx context.Context, _ *channel.TopicEvent) (channel.TopicAnswer, error) {
	return c(ctx)
}

// open opens a streaming subscription and gives how it ended.
func (w *world) open(t *testing.T, ctx context.Context, to config.TopicSubscription, c client) <-chan error {
	t.Helper()
	established, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- w.Stream(ctx, to, c, func() { close(established) }) }()
	select {
	case <-established:
	case err := <-ended:
		t.Fatal(err)
	}
	return ended
}

// TestStreamEnds: what is in hand when a client goes away is given back; at the end of the sidecar its answers are waited
// for; streams after that are refused.
func TestStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, setup{})
		release := make(chan struct{})
		waits := client(func(ctx context.Context) (channel.TopicAnswer, error) {
			select {
			case <-release:
				return channel.TopicAnswer{}, nil
			case <-ctx.Done():
				return channel.TopicAnswer{}, pubsub.ErrStreamClosed
			}
		})
		ctx, leave := context.WithCancel(t.Context())
		ended := w.open(t, ctx, to("t", buried("dead")), waits)
		outcome := make(chan string, 1)
		send := func() {
			deliver := w.broker.handler(t, "t")
			go func() { outcome <- text(deliver(context.Background(), []*pubsub.Message{message("t", "1")})) }()
			synctest.Wait()
		}
		send()
		leave()
		if err, got := <-ended, <-outcome; !errors.Is(err, context.Canceled) || got != pubsub.ErrStreamClosed.Error() || w.broker.dead() != nil {
			t.Errorf("%v; the broker is told %q; dead: %q", err, got, w.broker.dead())
		}
		synctest.Wait()
		if len(w.Subscriptions()) != 0 {
			t.Errorf("still listed: %q", w.inForce())
		}
		ended = w.open(t, t.Context(), to("t"), waits)
		send()
		drained := make(chan error, 1)
		go func() { drained <- w.Drain(t.Context()) }()
		synctest.Wait()
		close(release)
		if err, end, got := <-drained, <-ended, <-outcome; err != nil || !errors.Is(end, pubsub.ErrStreamClosed) || got != "" {
			t.Errorf("%v, %v; the broker is told %q", err, end, got)
		}
		if err := w.Stream(t.Context(), to("t"), waits, func() {}); err == nil || !strings.Contains(err.Error(), "subscriber is closed") {
			t.Errorf("a stream after the end: %v", err)
		}
	})
}

func text(errs []error) string {
	if errs == nil || errs[0] == nil {
		return ""
	}
	return errs[0].Error()
}

// TestStreamStuck: a client that does not read, so that a message cannot be written to it, is let go of: only the end of the
// stream frees the writing. It does not hold up the end of the sidecar.
func TestStreamStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, setup{})
		over := make(chan struct{})
		ended := w.open(t, t.Context(), to("t"), func(context.Context) (channel.TopicAnswer, error) {
			<-over
			return channel.TopicAnswer{}, pubsub.ErrStreamClosed
		})
		deliver := w.broker.handler(t, "t")
		go deliver(context.Background(), []*pubsub.Message{message("t", "1")})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		drained := make(chan error, 1)
		go func() { drained <- w.Drain(ctx) }()
		if err := <-ended; !errors.Is(err, pubsub.ErrStreamClosed) {
			t.Errorf("the stream ended with %v", err)
		}
		close(over)
		if err := <-drained; err == nil || !strings.Contains(err.Error(), "given back") {
			t.Errorf("error %v", err)
		}
	})
}

// TestStreamImpatient: a stream whose subscription cannot be made ends at once with the reason; one that is lost later is
// made again.
func TestStreamImpatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, setup{})
		yes := client(func(context.Context) (channel.TopicAnswer, error) { return channel.TopicAnswer{}, nil })
		w.broker.refuse = func(string) error { return errAway }
		if err := w.Stream(t.Context(), to("t"), yes, func() {}); err == nil || err.Error() != "failed to subscribe to topic t: the broker is away" {
			t.Errorf("error %v", err)
		}
		w.broker.refuse = nil
		ended := w.open(t, t.Context(), to("t"), yes)
		w.broker.lost <- errAway
		synctest.Wait()
		if got := w.Subscriptions()[0].State; !strings.HasPrefix(got, "retrying since ") {
			t.Errorf("state %q", got)
		}
		time.Sleep(time.Minute)
		if got := w.broker.one(t, "t", "1"); got != "" {
			t.Errorf("the broker is told %q", got)
		}
		if err := w.Remove(t.Context(), "ps"); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, pubsub.ErrStreamClosed) {
			t.Errorf("the stream of a removed component ended with %v", err)
		}
	})
}
