package actors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/resiliency"
)

// ReentrancyHeader names the chain of calls that a call belongs to.
const ReentrancyHeader = "Dapr-Reentrancy-Id"

// call is one call on its way to its actor: of a method, or that of a reminder or timer.
type call struct {
	service            *Service
	actorType, actorID string
	method             string
	req                *channel.Request
	event              *channel.ActorEvent
	chain              string
	remote             bool
	// still is asked when a call that had to wait has its turn: false withdraws the call. nil is asked nothing.
	still     func() bool
	withdrawn bool
	entry     entry
	res       *channel.Response
}

// Invoke calls a method of an actor, wherever it lives. The answer is that of a method that worked, or that of an actor
// that says it failed (channel.ActorErrorHeader). Of req the query, the headers, the content type and the body count; the
// body has to be there as a whole, since a call may be made again. The caller closes the Response.
func (s *Service) Invoke(ctx context.Context, actorType, actorID, method string, req *channel.Request) (*channel.Response, error) {
	if _, err := s.table(); err != nil {
		return nil, err
	}
	if err := checkActor(actorType, actorID); err != nil {
		return nil, err
	}
	method, err := channel.CanonicalMethod(method)
	if err != nil {
		return nil, apierr.ActorBadCall.New("actor method", err)
	}
	c := &call{service: s, actorType: actorType, actorID: actorID, method: method, req: req, chain: req.Header.Value(ReentrancyHeader)}
	if err := s.route(ctx, c); err != nil {
		return nil, c.failure(err)
	}
	return c.res, nil
}

// CallActor takes a call that another sidecar has brought: the actor lives here, or its caller has to look again.
func (s *Service) CallActor(ctx context.Context, actorType, actorID, method string, req *channel.Request) (*channel.Response, error) {
	c := &call{service: s, actorType: actorType, actorID: actorID, method: method, req: req, chain: req.Header.Value(ReentrancyHeader), remote: true}
	if err := s.here(ctx, c); err != nil {
		return nil, c.failure(err)
	}
	return c.res, nil
}

// FireActor takes a reminder or timer that is due and that another sidecar has brought.
func (s *Service) FireActor(ctx context.Context, event *channel.ActorEvent) error {
	c := &call{service: s, actorType: event.Type, actorID: event.ID, event: event, remote: true}
	if err := s.here(ctx, c); err != nil {
		return c.failure(err)
	}
	return nil
}

// here makes a call of another sidecar.
func (s *Service) here(ctx context.Context, c *call) error {
	table, err := s.table()
	if err != nil {
		return err
	}
	return c.attempt(ctx, table)
}

// enter takes the call into its actor: the Table calls it while it vouches for that.
func (c *call) enter() {
	k, ok := c.service.look(c.actorType)
	if !ok || k.hosting.Load() == nil {
		c.entry = entry{err: errMoved}
		return
	}
	c.entry = k.enter(c.actorID, c.chained(k))
}

// chained is the chain for the turn: a new one where the call has none, none where the type is not reentrant.
func (c *call) chained(k *kind) string {
	switch {
	case !k.settings().reentrant:
		return ""
	case c.chain == "":
		return uuid.NewString()
	}
	return c.chain
}

// attempt finds the actor once and makes the call.
func (c *call) attempt(ctx context.Context, table Table) error {
	s := c.service
	if c.chain != "" {
		if k, ok := s.look(c.actorType); ok {
			if nested, err := k.reenter(c.actorID, c.chain); nested != nil || err != nil {
				return c.run(nested, err)
			}
		}
	}
	owner, err := table.Owner(ctx, c.actorType, c.actorID, c.enter)
	switch {
	case errors.Is(err, placement.ErrNoHost) && s.hosts(c.actorType) && s.deps.State.ActorStoreReady() != nil:
		return apierr.ActorRuntimeNotFound.New(s.deps.State.ActorStoreReady())
	case err != nil:
		return err
	case owner.Local:
		t, err := c.entry.wait(ctx)
		if err == nil && c.still != nil && c.entry.waiter != nil && !c.still() {
			c.withdrawn = true
			t.end()
			return nil
		}
		return c.run(t, err)
	case c.remote:
		return errElsewhere
	}
	return c.forward(ctx, owner)
}

// run makes the call within its turn.
func (c *call) run(t *turn, err error) error {
	if err != nil {
		return err
	}
	k := t.actor.kind
	h := k.hosting.Load()
	if h == nil {
		t.end()
		return errMoved
	}
	guard := c.service.deps.Policies.ActorTurn(c.actorType)
	err = guard.Call(t, "", func(ctx context.Context) error { return c.ask(ctx, t, h.host) })
	if err != nil || c.res == nil || c.res.Body.Stream == nil {
		t.end()
	} else {
		c.res.Body.Stream, c.res.Release = holdTurn(t, c.res)
	}
	if err != nil && t.why() != nil {
		return t.why()
	}
	return err
}

// ask asks the application, unless the process has stood still meanwhile: the turn before may have ended before anybody
// noticed, and the actor may be active elsewhere.
func (c *call) ask(ctx context.Context, t *turn, host channel.ActorHost) (err error) {
	table, err := c.service.table()
	if err != nil {
		return err
	}
	if table.Fresh() != nil {
		return errMoved
	}
	if c.event != nil {
		event := *c.event
		if t.id != "" {
			event.Header = event.Header.With(ReentrancyHeader, t.id)
		}
		cancel, err := host.FireActor(ctx, &event)
		if err == nil && cancel {
			err = ErrCancelled
		}
		return err
	}
	req := *c.req
	req.Header = c.header(t)
	c.res, err = host.CallActor(ctx, c.actorType, c.actorID, c.method, &req)
	return err
}

// ErrCancelled says that the application wants no more of a reminder or a timer.
var ErrCancelled = errors.New("reminder has been canceled")

// The headers that tell an application where a call of its actor comes from. As in Dapr the caller's application is that
// beside the host of the actor.
const (
	apiCallHeader         = "Dapr-Api-Call"
	remoteHeader          = "X-Dapr-Remote"
	callerAppIDHeader     = "Dapr-Caller-App-Id"
	callerNamespaceHeader = "Dapr-Caller-Namespace"
)

// addedHeaders is how many header adds at most.
const addedHeaders = 5

// header is the caller's without what only a sidecar may say, and with what it says.
func (c *call) header(t *turn) channel.Header {
	h := make(channel.Header, 0, len(c.req.Header)+addedHeaders)
	for _, f := range c.req.Header {
		if !ours(f.Name) || (t.id == "" && strings.EqualFold(f.Name, ReentrancyHeader)) {
			h = append(h, f)
		}
	}
	h = h.With(apiCallHeader, "true").With(callerAppIDHeader, c.service.deps.AppID).With(callerNamespaceHeader, c.service.deps.Namespace)
	if t.id != "" {
		h = h.With(ReentrancyHeader, t.id)
	}
	if c.remote {
		h = h.With(remoteHeader, "true")
	}
	return h
}

// ours says whether a header is one that header sets.
func ours(name string) bool {
	switch len(name) {
	case len(apiCallHeader), len(callerAppIDHeader), len(callerNamespaceHeader):
		return strings.EqualFold(name, apiCallHeader) || strings.EqualFold(name, remoteHeader) || strings.EqualFold(name, callerAppIDHeader) ||
			strings.EqualFold(name, ReentrancyHeader) || strings.EqualFold(name, callerNamespaceHeader)
	}
	return false
}

// holdTurn has an answer that still streams hold its turn: the application is busy with it.
func holdTurn(t *turn, res *channel.Response) (io.Reader, func()) {
	h := &held{Reader: res.Body.Stream, turn: t, release: res.Release}
	return h, h.close
}

type held struct {
	io.Reader
	turn    *turn
	release func()
}

// Read ends the turn with the answer.
func (h *held) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if err != nil {
		h.leave()
	}
	return n, err
}

func (h *held) close() {
	if h.release != nil {
		h.release()
	}
	h.leave()
}

func (h *held) leave() {
	if h.turn != nil {
		h.turn.end()
		h.turn = nil
	}
}

// forward makes the call at another sidecar.
func (c *call) forward(ctx context.Context, owner placement.Owner) (err error) {
	others := c.service.deps.Others
	if c.event != nil {
		err = others.FireActor(ctx, owner.Address, owner.AppID, c.event)
	} else {
		req := *c.req
		c.res, err = others.CallActor(ctx, owner.Address, owner.AppID, c.actorType, c.actorID, c.method, &req)
	}
	if err != nil {
		return c.told(err, owner)
	}
	return nil
}

// The words in which sidecars of Dapr say that a call is to be made again: it came to a host that no longer has its actor, or
// has no table.
const (
	movedText   = "remote actor moved"
	tablelessly = "placement is disseminating"
)

var errElsewhere = errors.New(movedText)

// told is what another sidecar said of a call, as if it had been made here.
func (c *call) told(err error, owner placement.Owner) error {
	st := status.Convert(err)
	text := strings.TrimPrefix(st.Message(), strings.TrimSuffix(apierr.ActorInvoke.Format, "%v"))
	switch st.Code() {
	case codes.Internal:
		if strings.HasSuffix(text, movedText) || strings.HasSuffix(text, tablelessly) {
			return errElsewhere
		}
		if c.event != nil && text == ErrCancelled.Error() {
			return ErrCancelled
		}
		return errors.New(text)
	case codes.ResourceExhausted:
		for _, row := range [...]*apierr.Error{apierr.ActorStackDepth.New(), apierr.ActorBusy.New(c.actorType, c.actorID, maxWaiting)} {
			if text == row.Message {
				return row
			}
		}
	case codes.FailedPrecondition:
		if strings.Contains(text, "did not find address") {
			return placement.ErrNoHost
		}
	case codes.Unavailable:
		return fmt.Errorf("the sidecar of %s at %s: %w", owner.AppID, owner.Address, err)
	}
	return err
}

// route makes the call until it has worked or another attempt would not help.
func (s *Service) route(ctx context.Context, c *call) error {
	table, err := s.table()
	if err != nil {
		return err
	}
	guard := s.deps.Policies.Actor(c.actorType)
	if guard.Explicit() {
		return guard.Call(ctx, c.actorID, func(ctx context.Context) error { return c.attempt(ctx, table) })
	}
	return guard.Call(ctx, c.actorID, func(ctx context.Context) error { return c.attempts(ctx, table) })
}

// The pauses of the built-in retries: Dapr makes five of one second each; the first ones here are shorter, since most
// moves are over sooner.
var pauses = [...]time.Duration{20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, time.Second, time.Second, time.Second}

func (c *call) attempts(ctx context.Context, table Table) error {
	for i := 0; ; i++ {
		err := c.attempt(ctx, table)
		if err == nil || i == len(pauses) || !passing(err) || ctx.Err() != nil {
			return err
		}
		if waited := resiliency.Wait(ctx, pauses[i]); waited != nil {
			return waited
		}
	}
}

// passing says whether the reason of a failure goes away when the table is another: the actor has moved or is about to,
// its host is gone, or nobody hosts the type yet.
func passing(err error) bool {
	switch {
	case errors.Is(err, errMoved), errors.Is(err, errElsewhere), errors.Is(err, placement.ErrNoHost):
		return true
	case channel.Unreached(err):
		return true
	}
	return status.Code(err) == codes.Unavailable
}

// failure is the row of what went wrong. A caller at another sidecar is told in Dapr's words that it is to try again.
func (c *call) failure(err error) error {
	var row *apierr.Error
	switch {
	case errors.As(err, &row):
		return row
	case errors.Is(err, placement.ErrNoHost):
		return apierr.ActorNoAddress.New(c.actorType, c.actorID)
	case c.remote && errors.Is(err, errMoved):
		return apierr.ActorInvoke.New(errElsewhere)
	case errors.Is(err, placement.ErrNoTable), c.remote && channel.Unreached(err):
		return apierr.ActorInvoke.As(apierr.ActorInvoke.HTTP, codes.Unavailable).New(err)
	}
	if code, ok := resiliency.Code(err); ok {
		return apierr.ActorInvoke.As(apierr.ActorInvoke.HTTP, code).New(err)
	}
	return apierr.ActorInvoke.New(err)
}
