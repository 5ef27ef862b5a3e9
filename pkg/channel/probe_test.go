package channel

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

func TestAwait(t *testing.T) {
	t.Run("listens already", func(t *testing.T) {
		app := serveRaw(t, func(*rawConn) {})
		if err := Await(testContext(t), app.address); err != nil {
			t.Error(err)
		}
	})
	t.Run("comes later", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		_ = listener.Close()
		found := make(chan error, 1)
		go func() { found <- Await(testContext(t), address) }()
		select {
		case err := <-found:
			t.Fatalf("found what does not listen: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		if listener, err = net.Listen("tcp", address); err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		if err := await(t, found, "the find"); err != nil {
			t.Error(err)
		}
	})
	t.Run("ends with its context", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		if err := Await(ctx, "127.0.0.1:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestPauses(t *testing.T) {
	var got []time.Duration
	for pause := firstPause; len(got) < 7; pause = next(pause) {
		got = append(got, pause/time.Millisecond)
	}
	for i, want := range []time.Duration{5, 10, 20, 40, 80, 100, 100} {
		if got[i] != want {
			t.Errorf("pauses %v", got)
			break
		}
	}
}
