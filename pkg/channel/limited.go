package channel

import (
	"context"
	"io"

	"google.golang.org/grpc"
)

// Limited lets at most n calls at once through to app. A call holds its slot until its answer is read to
// the end or closed; further ones wait for a slot as long as their context lives. Configuration,
// questions at the start, health checks and proxied calls are not counted.
func Limited(app App, n int) App {
	return &limited{App: app, slots: make(chan struct{}, n)}
}

type limited struct {
	App
	slots chan struct{}
}

func (l *limited) Invoke(ctx context.Context, req *Request) (*Response, error) {
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	res, err := l.App.Invoke(ctx, req)
	if err != nil {
		l.leave()
		return nil, err
	}
	if res.Body.Stream == nil {
		l.leave()
		return res, nil
	}
	s := &slot{Reader: res.Body.Stream, leave: l.leave, release: res.Release}
	res.Body.Stream, res.Release = s, s.close
	return res, nil
}

// Deliver holds a slot while the application has the message.
func (l *limited) Deliver(ctx context.Context, event *TopicEvent) (TopicAnswer, error) {
	if err := l.enter(ctx); err != nil {
		return TopicAnswer{}, err
	}
	defer l.leave()
	return l.App.Deliver(ctx, event)
}

// DeliverBulk holds one slot for all messages.
func (l *limited) DeliverBulk(ctx context.Context, events *BulkTopicEvent) ([]TopicAnswer, error) {
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	defer l.leave()
	return l.App.DeliverBulk(ctx, events)
}

// BindingEvent holds a slot while the application has the event.
func (l *limited) BindingEvent(ctx context.Context, event *BindingEvent) (*BindingAnswer, error) {
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	defer l.leave()
	return l.App.BindingEvent(ctx, event)
}

// ConfigurationUpdate holds a slot while the application is told.
func (l *limited) ConfigurationUpdate(ctx context.Context, update *ConfigurationUpdate) error {
	if err := l.enter(ctx); err != nil {
		return err
	}
	defer l.leave()
	return l.App.ConfigurationUpdate(ctx, update)
}

func (l *limited) enter(ctx context.Context) error {
	select {
	case l.slots <- struct{}{}:
		return nil
	default:
		return l.wait(ctx)
	}
}

func (l *limited) wait(ctx context.Context) error {
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return &missed{ctx.Err(), false}
	}
}

func (l *limited) leave() { <-l.slots }

// Conn is the connection for proxied calls.
func (l *limited) Conn() grpc.ClientConnInterface { return Conn(l.App) }

// slot gives the place of a streamed answer back once, at its end or when it is closed.
type slot struct {
	io.Reader
	leave   func()
	release func()
}

func (s *slot) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil {
		s.free()
	}
	return n, err
}

func (s *slot) close() {
	if s.release != nil {
		s.release()
	}
	s.free()
}

func (s *slot) free() {
	if s.leave != nil {
		s.leave()
		s.leave = nil
	}
}
