package tracing

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sirupsen/logrus"
	"go.opencensus.io/trace"
)

const (
	// queued bounds the spans that wait for an exporter; what ends while they are so many is dropped.
	queued = 2048
	// batched is the most spans of one export, batchTime how long the first waits for others.
	batched   = 512
	batchTime = time.Second
	// patience bounds all attempts at one batch.
	patience = 30 * time.Second
)

// exporter brings spans to where they are looked at. One goroutine calls it.
type exporter interface {
	// kind is stdout, zipkin or otlp.
	kind() string
	// name says where, for the log: no secrets are in it.
	name() string
	// send makes one attempt, which gives up when ctx ends or after a time of its own. An error that is final would be
	// that of every attempt.
	send(ctx context.Context, spans []*trace.SpanData) error
	close()
}

// exporting is an exporter with what waits for it. Nobody but its goroutine ever waits.
type exporting struct {
	to       exporter
	log      logrus.FieldLogger
	observer Observer
	queue    chan *trace.SpanData
	dropped  atomic.Int64
	// ending ends when nothing comes any more, done is closed when all is sent.
	ending context.Context
	end    context.CancelFunc
	done   chan struct{}
	// hard ends when what waits is given up.
	hard context.Context
	cut  context.CancelFunc
	// failing: the last export failed, which was logged.
	failing bool
}

func export(to exporter, deps Deps) *exporting {
	e := &exporting{to: to, log: deps.Log, observer: deps.Observer, queue: make(chan *trace.SpanData, queued), done: make(chan struct{})}
	e.ending, e.end = context.WithCancel(context.Background())
	e.hard, e.cut = context.WithCancel(context.Background())
	go e.run()
	return e
}

// offer takes a span, or drops it.
func (e *exporting) offer(span *trace.SpanData) {
	select {
	case e.queue <- span:
	default:
		e.drop(1)
	}
}

func (e *exporting) drop(spans int) {
	e.dropped.Add(int64(spans))
	if e.observer != nil {
		e.observer.SpansDropped(e.to.kind(), spans)
	}
}

// wait waits until all is sent, or gives the rest up when ctx ends.
func (e *exporting) wait(ctx context.Context) {
	defer e.cut()
	select {
	case <-e.done:
	case <-ctx.Done():
		e.cut()
		<-e.done
	}
	if dropped := e.dropped.Load(); dropped > 0 {
		e.log.Warnf("%d spans could not be exported to %s before the end", dropped, e.to.name())
	}
}

func (e *exporting) run() {
	defer close(e.done)
	defer e.to.close()
	batch := make([]*trace.SpanData, 0, batched)
	full := time.NewTimer(batchTime)
	full.Stop()
	for {
		select {
		case span := <-e.queue:
			if len(batch) == 0 {
				full.Reset(batchTime)
			}
			if batch = append(batch, span); len(batch) < batched {
				continue
			}
		case <-full.C:
		case <-e.ending.Done():
			e.rest(batch)
			return
		}
		full.Stop()
		e.send(batch)
		clear(batch)
		batch = batch[:0]
	}
}

// rest sends what is left: nothing comes any more.
func (e *exporting) rest(batch []*trace.SpanData) {
	for {
		select {
		case span := <-e.queue:
			if batch = append(batch, span); len(batch) == batched {
				e.send(batch)
				batch = batch[:0]
			}
		default:
			e.send(batch)
			return
		}
	}
}

// send tells the log when exporting begins to fail, and when it works again.
func (e *exporting) send(batch []*trace.SpanData) {
	if len(batch) == 0 {
		return
	}
	err := e.attempts(batch)
	if err != nil {
		e.drop(len(batch))
		if !e.failing {
			e.log.Warnf("traces cannot be exported to %s and are dropped until they can: %s", e.to.name(), err)
		}
		e.failing = true
		return
	}
	dropped := e.dropped.Swap(0)
	switch {
	case e.failing:
		e.log.Infof("traces are exported to %s again; %d spans were dropped", e.to.name(), dropped)
	case dropped > 0:
		e.log.Warnf("%d spans were dropped, since %s takes them more slowly than they come", dropped, e.to.name())
	}
	e.failing = false
}

// attempts tries with growing pauses while that may help. At the end an exporter that was failing before has one
// attempt left, so that nobody waits for a collector that is known to be away.
func (e *exporting) attempts(batch []*trace.SpanData) error {
	ctx := e.hard
	if e.failing {
		if e.ending.Err() != nil {
			return unwrapped(e.to.send(ctx, batch))
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(e.ending, cancel)()
	}
	var cause error
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := e.to.send(ctx, batch)
		if ctx.Err() == nil || cause == nil {
			cause = err
		}
		return struct{}{}, err
	}, backoff.WithMaxElapsedTime(patience))
	if err != nil {
		return unwrapped(cause)
	}
	return nil
}

// final marks an error that another attempt would not change.
func final(err error) error { return backoff.Permanent(err) }

func unwrapped(err error) error {
	if permanent, ok := errors.AsType[*backoff.PermanentError](err); ok {
		return permanent.Unwrap()
	}
	return err
}
