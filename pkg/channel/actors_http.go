package channel

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/jsontext"
)

// maxActorError bounds, in bytes, how much of an application's error goes into the text of ours.
const maxActorError = 64 << 10

// Actors is the application as a host of actors, nil where it opens a stream for them instead.
func Actors(app App) ActorHost {
	if !app.CalledForActors() {
		return nil
	}
	return calledHost{app}
}

// CalledForActors is true: an HTTP application serves its actors on its port.
func (a *http1) CalledForActors() bool { return true }

// CalledForActors is true: an HTTP application serves its actors on its port.
func (a *h2c) CalledForActors() bool { return true }

// CalledForActors is false: a gRPC application opens a stream for its actors.
func (a *grpcApp) CalledForActors() bool { return false }

// calledHost calls an HTTP application.
type calledHost struct{ app App }

// CallActor is PUT of the method.
func (h calledHost) CallActor(ctx context.Context, actorType, actorID, method string, req *Request) (*Response, error) {
	req.Verb, req.Method = http.MethodPut, ActorMethod(actorType, actorID, method)
	return h.ask(ctx, req)
}

// ask makes the call and tells the answers apart.
func (h calledHost) ask(ctx context.Context, req *Request) (*Response, error) {
	res, err := h.app.Invoke(ctx, req)
	if err != nil || res.Status == http.StatusOK {
		return res, err
	}
	defer res.Close()
	if res.Status == http.StatusNotFound {
		return nil, missingMethod(req.Method)
	}
	return nil, actorFailure(res.Status, fmt.Sprintf("(%d) %s", res.Status, shortened(res.Body)))
}

// shortened is the beginning of a body.
func shortened(body Body) string {
	text, _ := io.ReadAll(io.LimitReader(body.Reader(), maxActorError))
	return string(text)
}

// FireActor is PUT of the reminder or the timer.
func (h calledHost) FireActor(ctx context.Context, event *ActorEvent) (cancel bool, err error) {
	kind := "remind/"
	if event.Timer {
		kind = "timer/"
	}
	res, err := h.ask(ctx, &Request{Verb: http.MethodPut, Method: ActorMethod(event.Type, event.ID, kind+event.Name), ContentType: jsonType,
		Header: event.Header, Body: Body{Bytes: event.appendJSON(nil)}, Untraced: true})
	if err != nil {
		return false, err
	}
	defer res.Close()
	return config.Truthy(res.Header.Value(ActorCancelHeader)), nil
}

// appendJSON writes the event as applications know it from Dapr 1.18: without data the member is missing.
func (e *ActorEvent) appendJSON(b []byte) []byte {
	b = append(b, '{')
	if len(e.Data) > 0 && string(e.Data) != "null" {
		b = append(append(append(b, `"data":`...), e.Data...), ',')
	}
	if e.Timer {
		b = append(jsontext.AppendString(append(b, `"callback":`...), e.Callback), ',')
	}
	b = append(jsontext.AppendString(append(b, `"dueTime":`...), e.DueTime), ',')
	return append(jsontext.AppendString(append(b, `"period":`...), e.Period), '}')
}

// DeactivateActor is DELETE of the actor.
func (h calledHost) DeactivateActor(ctx context.Context, actorType, actorID string) error {
	res, err := h.ask(ctx, &Request{Verb: http.MethodDelete, Method: "actors/" + actorType + "/" + actorID,
		ContentType: "application/x-protobuf", Untraced: true})
	res.Close()
	return err
}
