package redis

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/go-redis/redis/v8"
	"github.com/sirupsen/logrus"
)

// outage is the time in which a server does not answer as it should.
type outage struct {
	since time.Time
	next  time.Duration
}

// The pauses between tries double from the first to the second.
const (
	shortestPause = 50 * time.Millisecond
	longestPause  = 2 * time.Second
)

// tell writes one line at the beginning. what cannot be read: "component x (…): topic t: messages".
func (o *outage) tell(log logrus.FieldLogger, what string, err error) {
	if o.since.IsZero() {
		o.since = time.Now()
		log.Warnf("%s cannot be read, trying again until they can: %v", what, err)
	}
}

// over writes one line at the end.
func (o *outage) over(log logrus.FieldLogger, what string) {
	if !o.since.IsZero() {
		log.Infof("%s are read again, after %v", what, time.Since(o.since).Round(time.Millisecond))
	}
	*o = outage{}
}

func (o *outage) pause(ctx context.Context) {
	o.next = min(max(2*o.next, shortestPause), longestPause)
	sleep(ctx, o.next)
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// outlive gives a context that ends a while after ctx.
func outlive(ctx context.Context, while time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		sleep(longer, while)
		cancel()
	})
	return longer, func() { stop(); cancel() }
}

// isFinal tells an answer that another try would get again.
func isFinal(err error) bool {
	if errors.Is(err, redis.ErrClosed) {
		return true
	}
	if !isAnswer(err) {
		return false
	}
	code, _, _ := strings.Cut(err.Error(), " ")
	switch code {
	case "WRONGTYPE", "NOPERM", "NOAUTH", "WRONGPASS":
		return true
	}
	return false
}
