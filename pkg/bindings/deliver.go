package bindings

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/resiliency"
)

// maxQuoted is how many bytes of an application's answer an error repeats.
const maxQuoted = 1 << 10

// create is the operation on outputs that an application's answer names.
const create = "create"

var errNoApp = errors.New("there is no application to bring events to")

// refusedEvent is an application's answer other than success.
type refusedEvent struct {
	status int
	body   []byte
}

func (r *refusedEvent) Error() string {
	return fmt.Sprintf("fails to send binding event to http app channel, status code: %d body: %s", r.status, r.body)
}

// HTTPStatus is the application's, for the policies.
func (r *refusedEvent) HTTPStatus() int { return r.status }

// handler is how events of a component reach the application: counted, under the component's inbound policy.
func (s *Service) handler(c *component) Handler {
	guard := s.deps.Policies.Component(resiliency.Binding, c.name, resiliency.Inbound)
	count := func(bool, time.Duration) {}
	if s.deps.Observer != nil {
		count = s.deps.Observer.InputBinding(c.name)
	}
	return func(ctx context.Context, event *Event) ([]byte, error) {
		start := time.Now()
		answer, err := resiliency.Do(ctx, guard, func(ctx context.Context) (*channel.BindingAnswer, error) {
			return s.ask(ctx, c, event)
		})
		count(err == nil, time.Since(start))
		if err != nil {
			s.deps.Log.Debugf("error from app consumer for binding [%s]: %s", c.name, err)
			return nil, err
		}
		s.forward(ctx, answer)
		return answer.Data, nil
	}
}

// ask brings an event to the application once. An answer of an HTTP application is a success with any 2xx.
func (s *Service) ask(ctx context.Context, c *component, event *Event) (*channel.BindingAnswer, error) {
	app, ok := s.deps.App.Load()
	if !ok {
		return nil, errNoApp
	}
	answer, err := s.spanned(ctx, app, &channel.BindingEvent{Name: c.name, Route: c.route, Data: event.Data, Metadata: event.Metadata})
	if err != nil {
		return nil, fmt.Errorf("error invoking app: %w", err)
	}
	if answer.Status >= http.StatusContinue && answer.Status/100 != 2 {
		return nil, &refusedEvent{answer.Status, answer.Data[:min(len(answer.Data), maxQuoted)]}
	}
	return answer, nil
}

// forward gives the data of an answer to the outputs that it names. What fails is logged only: the event is done. The
// answer's states are not saved, as in Dapr.
func (s *Service) forward(ctx context.Context, answer *channel.BindingAnswer) {
	if len(answer.To) == 0 || len(answer.Data) == 0 {
		return
	}
	if !json.Valid(answer.Data) {
		s.deps.Log.Errorf("error executing app response: the data for the bindings %q is no JSON", answer.To)
		return
	}
	send := func(name string) error {
		_, err := s.Invoke(ctx, name, &Request{Operation: create, Data: answer.Data})
		if err != nil {
			s.deps.Log.Errorf("error executing app response: %s", err)
		}
		return err
	}
	if answer.Parallel {
		var wait sync.WaitGroup
		for _, name := range answer.To {
			wait.Go(func() { _ = send(name) })
		}
		wait.Wait()
		return
	}
	for _, name := range answer.To {
		if send(name) != nil {
			return
		}
	}
}
