// Package apierr is the table of the errors that the API answers: one Row for each, with its code, its
// statuses and its text. Building blocks make errors from rows; each transport prints any of them in one
// function. The package knows neither HTTP nor gRPC beyond their numbers.
package apierr

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
)

// Row is one line of the table.
type Row struct {
	// Code is the errorCode of an HTTP body, "ERR_STATE_GET".
	Code string
	// HTTP is the status of an HTTP answer.
	HTTP int
	// GRPC is the code of a gRPC status.
	GRPC codes.Code
	// Format is the message, in the manner of fmt.Sprintf.
	Format string
	// Reason is the reason of the google.rpc.ErrorInfo detail of a gRPC status; empty means that the
	// status has no details at all.
	Reason string
	// Rich says that an HTTP body carries the details too (the state and publish errors of Dapr 1.18).
	Rich bool
	// HTTPPrefix stands before the message in an HTTP body only.
	HTTPPrefix string
	// HTTPText stands in place of the message in an HTTP body only.
	HTTPText string
}

// Error is a Row with its message filled in: what a building block answers to a transport.
type Error struct {
	Row
	// Message is the text for the caller.
	Message string
	// Metadata is the metadata of the ErrorInfo detail.
	Metadata map[string]string
	// Resource is the google.rpc.ResourceInfo detail, if any.
	Resource *Resource
	// Violation is the google.rpc.BadRequest detail, if any.
	Violation *Violation
	// Help is the google.rpc.Help detail, if any.
	Help *Link

	cause error
}

// Resource names what an error is about.
type Resource struct{ Type, Name, Owner, Description string }

// Violation names the field of a request that could not be used, and why.
type Violation struct{ Field, Description string }

// Link leads to a page that helps.
type Link struct{ URL, Description string }

// New fills the row's message in. Of the arguments, the last that is an error becomes the cause, which
// errors.Is and errors.As find.
func (r Row) New(args ...any) *Error {
	e := &Error{Row: r, Message: r.Format}
	if len(args) > 0 {
		e.Message = fmt.Sprintf(r.Format, args...)
	}
	for _, arg := range args {
		if cause, ok := arg.(error); ok {
			e.cause = cause
		}
	}
	return e
}

// Error is the message, without code or status.
func (e *Error) Error() string { return e.Message }

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.cause }

// WithResource adds the ResourceInfo detail.
func (e *Error) WithResource(kind, name, description string) *Error {
	e.Resource = &Resource{Type: kind, Name: name, Description: description}
	return e
}

// WithViolation adds the BadRequest detail.
func (e *Error) WithViolation(field, description string) *Error {
	e.Violation = &Violation{Field: field, Description: description}
	return e
}

// WithMetadata adds pairs of key and value to the ErrorInfo detail.
func (e *Error) WithMetadata(pairs ...string) *Error {
	if e.Metadata == nil {
		e.Metadata = make(map[string]string, len(pairs)/2)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		e.Metadata[pairs[i]] = pairs[i+1]
	}
	return e
}

// WithHelp adds the Help detail.
func (e *Error) WithHelp(url, description string) *Error {
	e.Help = &Link{URL: url, Description: description}
	return e
}

// From gives the Error that err is or wraps; any other error becomes the Uncategorised row with its text.
// From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Uncategorised.New(err)
}

// HasDetails says whether a gRPC status made from e carries details.
func (e *Error) HasDetails() bool {
	return e.Reason != "" || e.Resource != nil || e.Violation != nil || e.Help != nil
}

// HTTPMessage is the message of an HTTP body.
func (e *Error) HTTPMessage() string {
	if e.HTTPText != "" {
		return e.HTTPText
	}
	if e.HTTPPrefix == "" {
		return e.Message
	}
	return strings.Join([]string{e.HTTPPrefix, e.Message}, "")
}

// As is the row with other statuses: the same error, told more precisely.
func (r Row) As(http int, grpc codes.Code) Row {
	r.HTTP, r.GRPC = http, grpc
	return r
}
