package tracing

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"go.opencensus.io/trace"
)

const (
	// queued bounds the spans that wait for an exporter; what ends while they are so many is dropped.
	queued = 2048
	// batched is the most spans of one export, batchTime how long the first waits for others.
	batched   = 512
	batchTime = time.Second
)

// exporter brings spans to where they are looked at. One goroutine calls it.
type exporter interface {
	// name says where, for the log.
	name() string
	// send gives up when ctx ends, or after a time of its own.
	send(ctx context.Context, spans []*trace.SpanData) error
	close()
}

// exporting is an exporter with what waits for it. Nobody but its goroutine ever waits.
type exporting struct {
	to      exporter
	log     logrus.FieldLogger
	queue   chan *trace.SpanData
	dropped atomic.Int64
	// ending is closed when nothing comes any more, done when all is sent.
	ending, done chan struct{}
	// hard ends when what waits is given up.
	hard context.Context
	cut  context.CancelFunc
	// failing: the last export failed, which was logged.
	failing bool
	failure error
}

func export(to exporter, log logrus.FieldLogger) *exporting {
	e := &exporting{to: to, log: log, queue: make(chan *trace.SpanData, queued), ending: make(chan struct{}), done: make(chan struct{})}
	e.hard, e.cut = context.WithCancel(context.Background())
	go e.run()
	return e
}

// offer takes a span, or drops it.
func (e *exporting) offer(span *trace.SpanData) {
	select {
	case e.queue <- span:
	default:
		e.dropped.Add(1)
	}
}

func (e *exporting) end() { close(e.ending) }

// wait waits until all is sent, or gives the rest up when ctx ends. The error is that of the last export.
func (e *exporting) wait(ctx context.Context) error {
	defer e.cut()
	select {
	case <-e.done:
	case <-ctx.Done():
		e.cut()
		<-e.done
	}
	return e.failure
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
		case <-e.ending:
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
	e.failure = e.to.send(e.hard, batch)
	dropped := e.dropped.Swap(0)
	switch {
	case e.failure != nil:
		e.dropped.Add(dropped + int64(len(batch)))
		if !e.failing {
			e.log.Warnf("traces cannot be exported to %s and are dropped until they can: %s", e.to.name(), e.failure)
		}
		e.failing = true
		return
	case e.failing:
		e.log.Infof("traces are exported to %s again; %d spans were dropped", e.to.name(), dropped)
	case dropped > 0:
		e.log.Warnf("%d spans were dropped, since %s takes them more slowly than they come", dropped, e.to.name())
	}
	e.failing = false
}
