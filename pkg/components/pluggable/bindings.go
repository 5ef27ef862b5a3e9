package pluggable

import (
	"context"
	"fmt"
	"sync"

	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/components"
	componentsv1 "github.com/daprd/daprd/pkg/proto/components/v1"
)

// output is an output binding of a process.
type output struct {
	*process
	client     componentsv1.OutputBindingClient
	operations []string
}

func newOutput(path string) components.Factory[bindings.Output] {
	return func(ctx context.Context, spec *components.Spec) (bindings.Output, error) {
		o := &output{}
		var err error
		o.process, err = start(ctx, path, spec, func(ctx context.Context, p *process, properties *componentsv1.MetadataRequest) error {
			o.client = componentsv1.NewOutputBindingClient(p)
			if _, err := o.client.Init(ctx, &componentsv1.OutputBindingInitRequest{Metadata: properties}); err != nil {
				return err
			}
			answer, err := o.client.ListOperations(ctx, &componentsv1.ListOperationsRequest{})
			o.operations = answer.GetOperations()
			return err
		})
		if err != nil {
			return nil, err
		}
		return o, nil
	}
}

// Operations are those that the process has listed.
func (o *output) Operations() []string { return o.operations }

// Ping asks the process whether it is there.
func (o *output) Ping(ctx context.Context) error {
	_, err := o.client.Ping(ctx, &componentsv1.PingRequest{})
	return served(err)
}

// Invoke makes one request.
func (o *output) Invoke(ctx context.Context, req *bindings.Request) (*bindings.Response, error) {
	answer, err := o.client.Invoke(ctx, &componentsv1.InvokeRequest{Operation: req.Operation, Data: req.Data, Metadata: req.Metadata})
	if err != nil {
		return nil, err
	}
	return &bindings.Response{Data: answer.GetData(), Metadata: answer.GetMetadata()}, nil
}

// eventsInHand bounds how many events of one input are with the application at once; the process waits with the rest.
const eventsInHand = 100

// input is an input binding of a process.
type input struct {
	*process
	client componentsv1.InputBindingClient
}

func newInput(path string) components.Factory[bindings.Input] {
	return func(ctx context.Context, spec *components.Spec) (bindings.Input, error) {
		i := &input{}
		var err error
		i.process, err = start(ctx, path, spec, func(ctx context.Context, p *process, properties *componentsv1.MetadataRequest) error {
			i.client = componentsv1.NewInputBindingClient(p)
			_, err := i.client.Init(ctx, &componentsv1.InputBindingInitRequest{Metadata: properties})
			return err
		})
		if err != nil {
			return nil, err
		}
		return i, nil
	}
}

// Ping asks the process whether it is there.
func (i *input) Ping(ctx context.Context) error {
	_, err := i.client.Ping(ctx, &componentsv1.PingRequest{})
	return served(err)
}

// Read hands the events of the process to deliver, many at once, and answers each.
func (i *input) Read(ctx context.Context, deliver bindings.Handler) error {
	live, cut := context.WithCancel(context.WithoutCancel(ctx))
	stream, err := i.client.Read(live)
	if err != nil {
		cut()
		return fmt.Errorf("read from the component process at %s: %w", i.path, err)
	}
	events := receive(live, cut, stream.Recv)
	defer events.end(stream.CloseSend)
	var (
		wait    sync.WaitGroup
		sending sync.Mutex
		slots   = make(chan struct{}, eventsInHand)
	)
	defer wait.Wait() // before the stream is cut
	for {
		event, ok, err := events.next(ctx)
		if !ok {
			return lost(err, i.path)
		}
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			data, err := deliver(live, &bindings.Event{Data: event.GetData(), Metadata: event.GetMetadata()})
			answer := &componentsv1.ReadRequest{MessageId: event.GetMessageId(), ResponseData: data}
			if err != nil {
				answer.ResponseError = &componentsv1.AckResponseError{Message: err.Error()}
			}
			sending.Lock()
			defer sending.Unlock()
			_ = stream.Send(answer) // where it fails Recv tells why
		})
	}
}

// lost is why a stream ended, nil when that was wanted.
func lost(err error, path string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the component process at %s ended the stream: %w", path, err)
}
