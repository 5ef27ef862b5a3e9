package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// topic is what the publisher publishes to and subscribes to.
	topic = "orders"
	// deliveryTime is how long a message may be on its way before it counts as lost.
	deliveryTime = 10 * time.Second
)

// publisher is an application that publishes to a topic of its own: the arguments are the protocol (http or grpc), the
// broker and the number of messages in one call. It prints its port, reads that of its sidecar's API, puts the sidecar
// under load and runs until ctx ends. A worker publishes when all that it published before has been delivered: one call
// of each worker is undelivered at most, and nothing when the clock stops.
func publisher(ctx context.Context, duration time.Duration, connections int) error {
	if flag.NArg() != 3 {
		return errors.New("publisher: want PROTOCOL BROKER MESSAGES")
	}
	protocol, broker, messages, port := flag.Arg(0), flag.Arg(1), 0, 0
	if _, err := fmt.Sscan(flag.Arg(2), &messages); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var box mailbox
	stop := serveTopic(protocol, listener, broker, &box)
	defer stop()
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	if _, err := fmt.Scan(&port); err != nil {
		return fmt.Errorf("the sidecar's port: %w", err)
	}
	publish, err := publishing(protocol, port, broker, connections)
	if err != nil {
		return err
	}
	var last atomic.Uint64
	err = load(duration, connections, func() error {
		ids := make([]string, messages)
		for i := range ids {
			ids[i] = fmt.Sprintf("%0*d", idSize, last.Add(1))
		}
		delivered := box.expect(ids)
		if err := publish(ids); err != nil {
			return err
		}
		return await(delivered, messages)
	})
	if err == nil {
		<-ctx.Done()
	}
	return err
}

// await waits for as many deliveries.
func await(delivered <-chan struct{}, messages int) error {
	late := time.After(deliveryTime)
	for range messages {
		select {
		case <-delivered:
		case <-late:
			return fmt.Errorf("not delivered within %s", deliveryTime)
		}
	}
	return nil
}

// mailbox tells who published a message that it came. One that comes again is nobody's.
type mailbox struct {
	mu      sync.Mutex
	awaited map[string]chan<- struct{}
}

// expect gives a channel that gets an element for each of the messages.
func (b *mailbox) expect(ids []string) <-chan struct{} {
	delivered := make(chan struct{}, len(ids))
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.awaited == nil {
		b.awaited = map[string]chan<- struct{}{}
	}
	for _, id := range ids {
		b.awaited[id] = delivered
	}
	return delivered
}

// deliver takes a message's data, or an event with such data in it.
func (b *mailbox) deliver(text []byte) {
	_, rest, found := bytes.Cut(text, []byte(idMember))
	if !found || len(rest) < idSize {
		fmt.Fprintf(os.Stderr, "not what was published: %.200s\n", text)
		return
	}
	id := string(rest[:idSize])
	b.mu.Lock()
	defer b.mu.Unlock()
	if delivered := b.awaited[id]; delivered != nil {
		delete(b.awaited, id)
		delivered <- struct{}{}
	}
}

const (
	idMember = `"order":"`
	idSize   = 12
)

// message is what is published: JSON of bodySize bytes.
func message(id string) []byte {
	b := append(make([]byte, 0, bodySize), `{`+idMember+id+`","text":"`...)
	b = append(b, bytes.Repeat([]byte("x"), bodySize-len(b)-2)...)
	return append(b, `"}`...)
}
