package resiliency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
)

// OpenError is a call that a circuit breaker did not let through.
type OpenError struct {
	// Breaker is the name of the policy, Target what it guards.
	Breaker, Target string
	// Since is when it opened, Until when it lets a call through to try.
	Since, Until time.Time
	// HalfOpen says that it is trying already, with as many calls as it may.
	HalfOpen bool
}

// Error begins with Dapr's text.
func (e *OpenError) Error() string {
	if e.HalfOpen {
		return fmt.Sprintf("too many requests: the circuit breaker %q of %s is half-open since %s and waits for the calls that try whether it may close",
			e.Breaker, e.Target, stamp(e.Since))
	}
	return fmt.Sprintf("circuit breaker is open: %q of %s, since %s until %s", e.Breaker, e.Target, stamp(e.Since), stamp(e.Until))
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// TimeoutError is an attempt that took longer than its policy allows. It is a context.DeadlineExceeded.
type TimeoutError struct {
	// Policy is the name of the policy, Target what was called.
	Policy, Target string
	After          time.Duration
	final          bool
}

// Error begins with Dapr's text.
func (e *TimeoutError) Error() string {
	return fmt.Sprintf("%s: %s did not answer within %s (timeout policy %q)", context.DeadlineExceeded, e.Target, e.After, e.Policy)
}

// Unwrap is context.DeadlineExceeded.
func (e *TimeoutError) Unwrap() error { return context.DeadlineExceeded }

// Final says that what was to be sent is used up.
func (e *TimeoutError) Final() bool { return e.final }

// Code is the gRPC code for the error of a call that a policy has ended; ok is false for every other error.
func Code(err error) (code codes.Code, ok bool) {
	switch {
	case isOpen(err):
		return codes.Unavailable, true
	case errors.As(err, new(*TimeoutError)):
		return codes.DeadlineExceeded, true
	}
	return codes.OK, false
}

func isOpen(err error) bool {
	var open *OpenError
	return errors.As(err, &open)
}

func isHeld(err error) bool {
	var held Held
	return errors.As(err, &held)
}
