package messaging

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/resiliency"
)

// addressesPerRound bounds how many sidecars of one application are tried before the pause: the next
// one is tried at once, but a whole cluster that is down is not dialled for one call.
const addressesPerRound = 4

// RetryInterval is the pause between two rounds of attempts.
type RetryInterval time.Duration

// builtIn are the retries of calls that no policy holds for.
func (d *Direct) builtIn() resiliency.Retry {
	retry := d.policies.Retries(resiliency.ServiceRetries)
	if d.interval > 0 {
		retry.Pause = time.Duration(d.interval)
	}
	return retry
}

// remote makes the call at one of the target's sidecars. When one cannot be reached, the next known one is
// tried at once; when none can, all is asked anew after a pause, if retries says so.
func (d *Direct) remote(ctx context.Context, target Target, req *channel.Request, retries bool) (*channel.Response, error) {
	o := d.outgoing.Get().(*outgoing)
	o.req, o.begun = req, false
	o.header = d.forward(o.header, req.Header, target.AppID)
	defer d.reuse(o)
	if !retries {
		res, _, err := d.round(ctx, target.Target, o)
		return res, err
	}
	return d.attempts(ctx, target.Target, o)
}

func (d *Direct) reuse(o *outgoing) {
	clear(o.header)
	o.req = nil
	d.outgoing.Put(o)
}

func (d *Direct) attempts(ctx context.Context, target nameresolution.Target, o *outgoing) (*channel.Response, error) {
	var schedule *resiliency.Schedule
	for retries := 0; ; retries++ {
		res, again, err := d.round(ctx, target, o)
		if err == nil || !again {
			return res, err
		}
		if schedule == nil {
			schedule = d.builtIn().Begin()
		}
		pause, ok := schedule.Next(0)
		if !ok {
			return nil, fmt.Errorf("failed to invoke target %s after %d retries. Error: %w", target.AppID, retries, err)
		}
		if err := resiliency.Wait(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// round tries the known addresses of the target, each once. again says that another round may help.
func (d *Direct) round(ctx context.Context, target nameresolution.Target, o *outgoing) (res *channel.Response, again bool, err error) {
	resolver, ok := d.resolver.Load()
	if !ok {
		return nil, false, apierr.InvokeNotReady.New()
	}
	addresses, err := resolver.Resolve(ctx, target)
	if err != nil {
		return nil, false, err
	}
	var tried []string
	for {
		address := d.pick(target, addresses, tried)
		res, err = d.attempt(ctx, target, address, o)
		if err == nil || ctx.Err() != nil || !mayRetry(err, o) {
			return res, false, err
		}
		forget(resolver, target, address)
		if tried = append(tried, address); len(tried) == min(len(addresses), addressesPerRound) {
			return nil, true, err
		}
	}
}

// attempt makes the call once, and drops the connection when the sidecar cannot be reached.
func (d *Direct) attempt(ctx context.Context, target nameresolution.Target, address string, o *outgoing) (*channel.Response, error) {
	to, err := d.peers.use(target, address)
	if err != nil {
		return nil, err
	}
	x := d.exchanges.take()
	sent := d.sent(target.AppID, Unary)
	res, err := x.call(ctx, to, o)
	if err == nil {
		sent.answered(ctx, res.Status, nil)
		return res, nil
	}
	sent.answered(ctx, 0, err)
	if ctx.Err() == nil && unreachable(err) {
		to.retire()
	}
	x.release()
	return nil, err
}

// unreachable says whether another attempt may succeed where this one failed (Dapr's choice of codes).
func unreachable(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.Unauthenticated
}

// mayRetry says whether the call may be made again: a streamed body only while nobody has read of it.
func mayRetry(err error, o *outgoing) bool {
	return unreachable(err) && (o.replayable() || !o.begun)
}

// roundRobin spreads calls over the addresses of a target.
type roundRobin struct{ next atomic.Uint32 }

// pick is the address whose turn it is, of those not tried yet. One that is connected goes before one that
// is not, which gets connected meanwhile: so a sidecar that vanished holds up nobody.
func (d *Direct) pick(target nameresolution.Target, addresses, tried []string) string {
	if len(addresses) == 1 {
		return addresses[0]
	}
	start := int(d.rounds.next.Add(1) % uint32(len(addresses)))
	turn := ""
	for i := range addresses {
		address := addresses[(start+i)%len(addresses)]
		if slices.Contains(tried, address) {
			continue
		}
		if d.peers.ready(target, address) {
			if turn != "" {
				d.peers.connect(target, turn)
			}
			return address
		}
		if turn == "" {
			turn = address
		}
	}
	return turn
}

func forget(resolver nameresolution.Resolver, target nameresolution.Target, address string) {
	if f, ok := resolver.(nameresolution.Forgetter); ok {
		f.Forget(target, address)
	}
}
