package channel

import (
	"context"
	"fmt"
	"net/http"
)

// ActorHost is an application as a host of actors: one that is called for them (Actors), or one that reads what it is
// asked from a stream that it has opened (ActorStream). Its methods may be called by many goroutines at once; that an
// actor is asked one thing at a time is the caller's care.
type ActorHost interface {
	// CallActor calls a method. The answer is that of a call that worked, or that of an actor which says that it failed:
	// then the answer has the header ActorErrorHeader. Everything else is an error, an *ActorError if the application
	// gave it. The caller closes the Response. Of req the header, the query, the content type and the body count; it is
	// changed.
	CallActor(ctx context.Context, actorType, actorID, method string, req *Request) (*Response, error)
	// FireActor tells an actor of a reminder or a timer that is due. cancel says that the application wants no more of it.
	FireActor(ctx context.Context, event *ActorEvent) (cancel bool, err error)
	// DeactivateActor tells that an actor is no longer active here.
	DeactivateActor(ctx context.Context, actorType, actorID string) error
}

// ActorEvent is a reminder or a timer that is due.
type ActorEvent struct {
	Type, ID, Name string
	// Data is the text of a JSON value, empty for none.
	Data []byte
	// DueTime and Period are as they were registered.
	DueTime, Period string
	// Timer tells a timer from a reminder; only a timer has a Callback.
	Timer    bool
	Callback string
	// Header goes along to an application that is called.
	Header Header
}

// The headers with which an application tells of its actors.
const (
	// ActorErrorHeader marks an answer with status 200 as an error of the actor; its value has no meaning.
	ActorErrorHeader = "X-Daprerrorresponseheader"
	// ActorCancelHeader asks for the end of the reminder or the timer that was answered.
	ActorCancelHeader = "X-Daprremindercancel"
)

// ActorError is an application's answer that a call of an actor failed.
type ActorError struct {
	// Missing says that there is no such method.
	Missing bool
	// Status is that of an HTTP application, 0 where there is none.
	Status int
	Text   string
}

// Error is Dapr's text.
func (e *ActorError) Error() string { return e.Text }

// HTTPStatus is what policies go by: a method that is missing will be missing at the next attempt too.
func (e *ActorError) HTTPStatus() int {
	switch {
	case e.Missing:
		return http.StatusNotFound
	case e.Status == 0 || e.Status < http.StatusBadRequest:
		return http.StatusInternalServerError
	}
	return e.Status
}

// ActorMethod is the path of a method in an application that is called for its actors.
func ActorMethod(actorType, actorID, method string) string {
	return "actors/" + actorType + "/" + actorID + "/method/" + method
}

func missingMethod(name string) error {
	return &ActorError{Missing: true, Text: "actor method not found: " + name}
}

func actorFailure(status int, text string) error {
	return &ActorError{Status: status, Text: fmt.Sprintf("error from actor service: %s", text)}
}
