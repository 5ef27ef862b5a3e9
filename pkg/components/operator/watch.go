package operator

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	operatorv1 "github.com/daprd/daprd/pkg/proto/operator/v1"
)

// The pauses before a lost stream is opened again, as in Dapr; other than there it is tried without end.
const (
	firstPause   = 500 * time.Millisecond
	longestPause = time.Minute
	pauseGrowth  = 1.5
)

// watch is what the streams of one client share.
type watch struct {
	// changed holds a word when something may have changed since it was taken out.
	changed chan struct{}

	mu sync.Mutex
	// lost is what was logged of the loss of the streams, "" while they stand.
	lost string
}

func newWatch() watch { return watch{changed: make(chan struct{}, 1)} }

// stream waits for the next event of a stream. The first event is that of its headers: our operator sends them once it sees
// every later change, so that none is missed between a list and the stream; Dapr's sends them with the first change.
type stream func() error

func receive[T any](s grpc.ServerStreamingClient[T], err error) (stream, error) {
	if err != nil {
		return nil, err
	}
	stands := false
	return func() error {
		if !stands {
			stands = true
			if _, err := s.Header(); err == nil {
				return nil
			}
		}
		_, err := s.Recv()
		return err
	}, nil
}

// Watch holds the operator's streams open until ctx ends, and opens those that are lost again. What their events say is
// not used: they tell Next that the lists are to be read, which also shows what was missed while a stream was lost.
func (c *Client) Watch(ctx context.Context) {
	namespace := c.settings.Namespace
	var wait sync.WaitGroup
	for kind, open := range map[string]func() (stream, error){
		"Component": func() (stream, error) {
			return receive(c.api.ComponentUpdate(ctx, &operatorv1.ComponentUpdateRequest{Namespace: namespace, PodName: c.settings.Pod}))
		},
		"Subscription": func() (stream, error) {
			return receive(c.api.SubscriptionUpdate(ctx, &operatorv1.SubscriptionUpdateRequest{Namespace: namespace}))
		},
		"HTTPEndpoint": func() (stream, error) {
			return receive(c.api.HTTPEndpointUpdate(ctx, &operatorv1.HTTPEndpointUpdateRequest{Namespace: namespace}))
		},
		"Configuration": func() (stream, error) {
			return receive(c.api.ConfigurationUpdate(ctx, &operatorv1.ConfigurationUpdateRequest{Namespace: namespace}))
		},
		"Resiliency": func() (stream, error) {
			return receive(c.api.ResiliencyUpdate(ctx, &operatorv1.ResiliencyUpdateRequest{Namespace: namespace}))
		},
	} {
		wait.Go(func() { c.follow(ctx, kind, open) })
	}
	wait.Wait()
}

// follow hears the stream of a kind until ctx ends, or the operator does not know it.
func (c *Client) follow(ctx context.Context, kind string, open func() (stream, error)) {
	told := ""
	for pause := firstPause; ; pause = min(time.Duration(float64(pause)*pauseGrowth), longestPause) {
		opened := time.Now()
		err := c.hear(open)
		switch {
		case ctx.Err() != nil || status.Code(err) == codes.Unimplemented:
			return
		case !refused(err):
			c.isLost(err)
		case told != err.Error():
			told = err.Error()
			c.settings.Log.Warnf("the operator refuses the stream of kind %s: %s; changes of that kind are seen late", kind, err)
		}
		if time.Since(opened) > longestPause {
			pause = firstPause // it stood
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

// hear opens a stream and hears it until it is lost.
func (c *Client) hear(open func() (stream, error)) error {
	next, err := open()
	if err != nil {
		return err
	}
	c.stands()
	for {
		if err := next(); err != nil {
			return err
		}
		c.tell()
	}
}

// refused says whether an operator that is there does not want to: to be asked again changes little.
func refused(err error) bool {
	switch status.Code(err) {
	case codes.PermissionDenied, codes.Unauthenticated, codes.InvalidArgument, codes.FailedPrecondition, codes.NotFound:
		return true
	}
	return false
}

// tell has the next Next return at once.
func (c *Client) tell() {
	select {
	case c.watch.changed <- struct{}{}:
	default:
	}
}

// stands is called for every stream that was opened: nobody knows what happened before.
func (c *Client) stands() {
	c.tell()
	c.watch.mu.Lock()
	defer c.watch.mu.Unlock()
	if c.watch.lost != "" {
		c.watch.lost = ""
		c.settings.Log.Info("Reconnected to operator")
	}
}

func (c *Client) isLost(err error) {
	c.watch.mu.Lock()
	defer c.watch.mu.Unlock()
	if c.watch.lost == "" {
		c.settings.Log.Warnf("Error from operator stream: %s; changes of resources are seen late until it is back", err)
	}
	c.watch.lost = err.Error()
}

// Lost says whether the streams are lost, which the log has told.
func (c *Client) Lost() bool {
	c.watch.mu.Lock()
	defer c.watch.mu.Unlock()
	return c.watch.lost != ""
}

// Next returns true when something may have changed, false when the interval is over without a change, or ctx has ended.
// It is for one goroutine at a time.
func (c *Client) Next(ctx context.Context, interval time.Duration) bool {
	timer := time.NewTimer(interval)
	defer timer.Stop()
	select {
	case <-c.watch.changed:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
