package bindings

import (
	"context"
	"time"
)

// patience is how long the end waits for an input that does not heed its context.
const patience = time.Second

// reading is one input that is read, in a goroutine of its own. A nil reading is one that never began.
type reading struct {
	// stop ends the reading; events in hand go on. cut ends those too.
	cancel, cutOff context.CancelFunc
	// over is closed when the goroutine has ended.
	over chan struct{}
}

func (r *reading) stop() {
	if r != nil {
		r.cancel()
	}
}

func (r *reading) cut() {
	if r != nil {
		r.cutOff()
	}
}

// wait waits for the end, or until ctx ends; its error is the context's cause.
func (r *reading) wait(ctx context.Context) error {
	if r == nil {
		return nil
	}
	select {
	case <-r.over:
		return nil
	default:
	}
	select {
	case <-r.over:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// leave waits for a reading whose events are cut off and whose component is closed: it should be over.
func (r *reading) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = r.wait(ctx)
}

// Start begins to read the input bindings that the application wants. It does nothing when that has begun already, and
// it does not wait for the application's answers.
func (s *Service) Start(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		return nil
	}
	if _, ok := s.deps.App.Load(); !ok {
		// The text of Dapr's trace, with its blank at the end.
		s.deps.Log.Warn("failed to read from bindings: app channel not initialized ")
		return nil
	}
	s.started = true
	for _, name := range s.components.Names() {
		if c, ok := s.components.Look(name); ok {
			s.begin(c)
		}
	}
	return nil
}

// begin reads an input, if inputs are read. It runs under mu.
func (s *Service) begin(c *component) {
	if !s.started || c.bare.Input == nil {
		return
	}
	reader, cancel := context.WithCancel(context.Background())
	events, cut := context.WithCancel(context.Background())
	before := s.readings[c.name]
	r := &reading{cancel: cancel, cutOff: cut, over: make(chan struct{})}
	s.readings[c.name] = r
	go func() {
		defer close(r.over)
		defer cut()
		// Of one component there is one reading at a time, also when the one before takes long to end.
		if before.wait(reader) == nil {
			s.read(reader, events, c)
		}
	}()
}

// Stop ends reading and waits for the events in hand until ctx ends. Start begins anew.
func (s *Service) Stop(ctx context.Context) error {
	var late error
	for _, r := range s.halt() {
		if err := r.wait(ctx); err != nil {
			late = err
		}
	}
	return late
}

// halt tells every reading to end and gives them.
func (s *Service) halt() []*reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = false
	all := make([]*reading, 0, len(s.readings))
	for _, r := range s.readings {
		r.stop()
		all = append(all, r)
	}
	return all
}
