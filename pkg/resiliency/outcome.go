package resiliency

import (
	"context"
	"errors"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/apierr"
)

// What errors may say of themselves, found by errors.As. An error that says nothing is a failure that is retried.
type (
	// Statused has an HTTP status. From 500 on it is a failure that is retried; from 400 to 499 it is the caller's
	// own mistake, which is neither retried nor counted by a breaker, unless a policy's matching lists it.
	Statused interface{ HTTPStatus() int }
	// GRPCStatused has a gRPC status, as errors of google.golang.org/grpc do. Its code counts as the HTTP status
	// that stands for it.
	GRPCStatused interface{ GRPCStatus() *status.Status }
	// Delayed knows when to try again (Retry-After); ok is false where it was not told.
	Delayed interface {
		RetryAfter() (pause time.Duration, ok bool)
	}
	// Final says that another attempt cannot be made, whatever went wrong: what was to be sent is used up. It is
	// asked last, when another attempt follows unless it says so.
	Final interface{ Final() bool }
	// Held holds something, an answer for one. Discard frees it, when another attempt follows.
	Held interface{ Discard() }
)

// Mistake says of an error that it stands for an HTTP status below 500: what was asked for is not there, or makes no
// sense. Components use it for errors that another attempt would meet again. The text stays that of err.
func Mistake(status int, err error) error { return &mistake{err, status} }

type mistake struct {
	error
	status int
}

func (m *mistake) HTTPStatus() int { return m.status }
func (m *mistake) Unwrap() error   { return m.error }

// outcome is what an attempt's end means.
type outcome struct {
	// failed counts against the breaker.
	failed bool
	// again says that another attempt may help.
	again bool
}

// judge reads what an error says. A code that matching lists is retried, another of its kind is not.
func judge(err error, matching *matching) outcome {
	if err == nil {
		return outcome{}
	}
	web, rpc := statusOf(err)
	o := outcome{failed: true, again: true}
	switch {
	case web != 0:
		o = outcome{failed: web >= http.StatusInternalServerError, again: web >= http.StatusInternalServerError}
		if listed := matching.http(web); listed != unlisted {
			o.again = listed == chosen
			o.failed = o.failed || o.again
		}
	case rpc != codes.OK:
		mistake := isMistake(rpc)
		o = outcome{failed: !mistake, again: !mistake}
		if listed := matching.grpc(rpc); listed != unlisted {
			o.again = listed == chosen
			o.failed = o.failed || o.again
		}
	}
	return o
}

// statusOf finds the status that an error stands for; HTTP's goes before gRPC's.
func statusOf(err error) (web int, rpc codes.Code) {
	var row *apierr.Error
	if errors.As(err, &row) && row.HTTP < http.StatusInternalServerError {
		return row.HTTP, codes.OK
	}
	var statused Statused
	if errors.As(err, &statused) {
		return statused.HTTPStatus(), codes.OK
	}
	var remote GRPCStatused
	if errors.As(err, &remote) {
		return 0, remote.GRPCStatus().Code()
	}
	return 0, codes.OK
}

// isMistake says whether a code is the caller's doing: those that stand for 4xx.
func isMistake(code codes.Code) bool {
	switch code {
	case codes.Canceled, codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied,
		codes.ResourceExhausted, codes.FailedPrecondition, codes.Aborted, codes.OutOfRange, codes.Unauthenticated:
		return true
	}
	return false
}

func isFinal(err error) bool {
	var final Final
	return errors.As(err, &final) && final.Final()
}

// asked is the pause that the answer asks for.
func asked(err error) (time.Duration, bool) {
	var delayed Delayed
	if errors.As(err, &delayed) {
		return delayed.RetryAfter()
	}
	return 0, false
}

func discard(err error) {
	var held Held
	if errors.As(err, &held) {
		held.Discard()
	}
}

// abandoned says that the caller went away, which tells nothing of the target.
func abandoned(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// ParseRetryAfter reads the value of a Retry-After header: seconds, or a date. ok is false for anything else.
func ParseRetryAfter(value string, now time.Time) (pause time.Duration, ok bool) {
	if value == "" {
		return 0, false
	}
	if seconds, ok := digits(value); ok {
		return time.Duration(seconds) * time.Second, true
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return max(date.Sub(now), 0), true
}

// digits reads a number of up to nine digits, which is 31 years in seconds.
func digits(text string) (n int, ok bool) {
	if len(text) > 9 {
		return 0, false
	}
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
