package configuration

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/resiliency"
)

// govern puts policies in force for every component: those with the names of default policies.
func govern(t *testing.T, s *Service, policies config.ResiliencyPolicies) {
	t.Helper()
	if warnings, err := s.deps.Policies.Set(config.Resiliency{Spec: config.ResiliencySpec{Policies: policies}}); err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
}

// retries are those that follow the first attempt after an hour each; -1 for no end of them.
func retries(n int) map[string]config.Retry {
	pause := config.Span(time.Hour)
	return map[string]config.Retry{"DefaultRetryPolicy": {Duration: &pause, MaxRetries: &n}}
}

// TestSubscribeRetries: a subscription that cannot be made is tried as often as the policy says.
func TestSubscribeRetries(t *testing.T) {
	for name, c := range map[string]struct {
		retries, failures, attempts int
		fails                       bool
	}{
		"as often as needed": {retries: 3, failures: 2, attempts: 3},
		"too seldom":         {retries: 3, failures: 9, attempts: 4, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var attempts atomic.Int32
				s := service(t, &scripted{subscribe: func(ctx context.Context, established func(), _ func(map[string]Item)) error {
					if int(attempts.Add(1)) <= c.failures {
						return errors.New("connection refused")
					}
					established()
					<-ctx.Done()
					return nil
				}}, silent)
				govern(t, s, config.ResiliencyPolicies{Retries: retries(c.retries)})
				_, err := s.SubscribeApp(t.Context(), "settings", nil, nil)
				if c.fails != (err != nil) || c.fails && !strings.Contains(err.Error(), "connection refused") {
					t.Errorf("error %v", err)
				}
				if got := int(attempts.Load()); got != c.attempts {
					t.Errorf("%d attempts, want %d", got, c.attempts)
				}
			})
		})
	}
}

// TestSubscribeTimeout: the timeout ends an attempt at a subscription, and the store has let go of it by then; the
// subscription that another attempt made is bounded by nothing.
func TestSubscribeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts, hanging atomic.Int32
		change := make(chan func(map[string]Item), 1)
		values := make(chan string, 1)
		s := service(t, &scripted{subscribe: func(ctx context.Context, established func(), changed func(map[string]Item)) error {
			hanging.Add(1)
			defer hanging.Add(-1)
			if attempts.Add(1) == 2 {
				established()
				change <- changed
			}
			<-ctx.Done()
			return nil
		}}, func(_ context.Context, update *channel.ConfigurationUpdate) error {
			values <- update.Items["a"].Value
			return nil
		})
		timeout := map[string]config.Span{"DefaultTimeoutPolicy": config.Span(time.Second)}
		govern(t, s, config.ResiliencyPolicies{Timeouts: timeout})
		_, err := s.SubscribeApp(t.Context(), "settings", nil, nil)
		var late *resiliency.TimeoutError
		if !errors.As(err, &late) || hanging.Load() != 0 {
			t.Fatalf("%v; %d subscriptions are left at the store", err, hanging.Load())
		}
		if _, err := s.SubscribeApp(t.Context(), "settings", nil, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		(<-change)(map[string]Item{"a": {Value: "late"}})
		if got := <-values; got != "late" || attempts.Load() != 2 {
			t.Errorf("%q after %d attempts", got, attempts.Load())
		}
	})
}

// TestSubscribeBreaker: attempts count at the breaker that guards the reads as well; subscriptions that were made, and
// end, do not.
func TestSubscribeBreaker(t *testing.T) {
	var attempts atomic.Int32
	s := service(t, &scripted{subscribe: func(ctx context.Context, established func(), _ func(map[string]Item)) error {
		if attempts.Add(1) > 1 {
			return errors.New("connection refused")
		}
		established()
		<-ctx.Done()
		return ctx.Err()
	}}, silent)
	govern(t, s, config.ResiliencyPolicies{CircuitBreakers: map[string]config.CircuitBreaker{"DefaultCircuitBreakerPolicy": {Trip: "totalFailures > 0"}}})
	id, err := s.SubscribeApp(t.Context(), "settings", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unsubscribe(id); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SubscribeApp(t.Context(), "settings", nil, nil); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("the breaker is open already, or the store well: %v", err)
	}
	var open *resiliency.OpenError
	if _, err := s.SubscribeApp(t.Context(), "settings", nil, nil); !errors.As(err, &open) || attempts.Load() != 2 {
		t.Errorf("%v after %d attempts", err, attempts.Load())
	}
	if _, err := s.Get(t.Context(), "settings", nil, nil); !errors.As(err, &open) {
		t.Errorf("a read: %v", err)
	}
}

// TestSubscriberLeaves: who leaves while the subscription is tried ends it.
func TestSubscriberLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, &scripted{subscribe: func(context.Context, func(), func(map[string]Item)) error { return errors.New("connection refused") }}, silent)
		govern(t, s, config.ResiliencyPolicies{Retries: retries(-1)})
		ctx, leave := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			_, err := s.SubscribeApp(ctx, "settings", nil, nil)
			ended <- err
		}()
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("it is not tried again: %v", err)
		default:
		}
		leave()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// TestLostUnderPolicy: a subscription that is lost is made again under the policy, and for ever where that gives up.
func TestLostUnderPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts atomic.Int32
		again := make(chan struct{})
		s := service(t, &scripted{subscribe: func(ctx context.Context, established func(), _ func(map[string]Item)) error {
			switch attempts.Add(1) {
			case 1:
				established()
				return errors.New("connection reset")
			case 2, 4, 5:
				return errors.New("connection refused")
			case 3: // until the timeout
				<-ctx.Done()
				return nil
			}
			established()
			close(again)
			<-ctx.Done()
			return nil
		}}, silent)
		govern(t, s, config.ResiliencyPolicies{Retries: retries(1), Timeouts: map[string]config.Span{"DefaultTimeoutPolicy": config.Span(time.Second)}})
		if _, err := s.SubscribeApp(t.Context(), "settings", nil, nil); err != nil {
			t.Fatal(err)
		}
		<-again
		if attempts.Load() != 6 {
			t.Errorf("%d attempts", attempts.Load())
		}
	})
}
