package nameresolution

import (
	"context"
	"errors"
	"io"
)

// Chain asks several resolvers in order and answers with what the first one
// finds; addresses of different resolvers are never mixed. It announces and
// withdraws in all of them.
type Chain []Resolver

// Resolve gives the addresses of the first resolver that has any. A resolver that
// fails does not stop the chain. If none has an address the error is a
// *NotFoundError, joined with the failures of those that could not answer.
func (c Chain) Resolve(ctx context.Context, target Target) ([]string, error) {
	var failures []error
	for _, resolver := range c {
		addresses, err := resolver.Resolve(ctx, target)
		if err == nil && len(addresses) > 0 {
			return addresses, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var notFound *NotFoundError
		if err != nil && !errors.As(err, &notFound) {
			failures = append(failures, err)
		}
	}
	if len(failures) == 0 {
		return nil, &NotFoundError{AppID: target.AppID}
	}
	return nil, errors.Join(append([]error{&NotFoundError{AppID: target.AppID}}, failures...)...)
}

// Announce enters the sidecar in every directory that takes announcements. An
// error names those that failed; the others hold the entry all the same.
func (c Chain) Announce(ctx context.Context, announcement Announcement) error {
	return each(c, func(a Announcer) error { return a.Announce(ctx, announcement) })
}

// Withdraw takes the sidecar's entry from every directory.
func (c Chain) Withdraw(ctx context.Context) error {
	return each(c, func(w Withdrawer) error { return w.Withdraw(ctx) })
}

// Forget passes the news of a dead address to all resolvers that remember.
func (c Chain) Forget(target Target, address string) {
	_ = each(c, func(f Forgetter) error { f.Forget(target, address); return nil })
}

// Close closes every resolver that can be closed.
func (c Chain) Close() error {
	return each(c, io.Closer.Close)
}

func each[T any](c Chain, do func(T) error) error {
	var errs []error
	for _, resolver := range c {
		if able, ok := resolver.(T); ok {
			errs = append(errs, do(able))
		}
	}
	return errors.Join(errs...)
}
