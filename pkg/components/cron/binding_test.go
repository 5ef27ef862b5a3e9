package cron

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/robfig/cron/v3"
	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/actors/schedule"
	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/bindings/bindingstest"
	"github.com/daprd/daprd/pkg/components/componentstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReadmeManifest(t *testing.T) {
	input, err := NewInput(t.Context(), componentstest.FromReadme(t, "bindings.cron"))
	if err != nil {
		t.Fatal(err)
	}
	next := input.(*binding).schedule.Next(time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local))
	if want := time.Date(2026, 1, 3, 2, 30, 0, 0, time.Local); !next.Equal(want) {
		t.Errorf("the next tick is %s, want %s", next, want)
	}
}

// every is a schedule that is quicker than those that can be written.
type every time.Duration

func (e every) Next(now time.Time) time.Time { return now.Add(time.Duration(e)) }

func of(schedule cron.Schedule) *binding {
	return &binding{name: "test", schedule: schedule, zone: "UTC", spec: componentstest.Spec("bindings.cron", nil)}
}

func TestConformance(t *testing.T) {
	bindingstest.Input(t, of(every(time.Millisecond)), nil)
}

func TestSchedules(t *testing.T) {
	start := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) // a Wednesday
	tests := map[string]string{
		"*/5 * * * *":                  "2026-03-04T05:10:00Z",
		"*/5 * * * * *":                "2026-03-04T05:06:10Z",
		"0 30 2 * * *":                 "2026-03-05T02:30:00Z",
		" 15 10 1,15 JAN-MAR ? ":       "2026-03-15T10:15:00Z",
		"0 0 * * MON-FRI":              "2026-03-05T00:00:00Z",
		"@every 5s":                    "2026-03-04T05:06:12Z",
		"@every 1h30m":                 "2026-03-04T06:36:07Z",
		"@hourly":                      "2026-03-04T06:00:00Z",
		"@daily":                       "2026-03-05T00:00:00Z",
		"@midnight":                    "2026-03-05T00:00:00Z",
		"@weekly":                      "2026-03-08T00:00:00Z",
		"@monthly":                     "2026-04-01T00:00:00Z",
		"@yearly":                      "2027-01-01T00:00:00Z",
		"CRON_TZ=Asia/Tokyo 0 6 * * *": "2026-03-04T21:00:00Z",
	}
	for text, want := range tests {
		parsed, err := schedule.Cron(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if s, ok := parsed.(*cron.SpecSchedule); ok && s.Location == time.Local {
			s.Location = time.UTC
		}
		if got := parsed.Next(start).UTC().Format(time.RFC3339); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestUnusableSchedules(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "metadata property schedule is missing",
		"x":                             `metadata property schedule: "x" is no schedule: `,
		"* * * *":                       "is no schedule",
		"* * * * * * *":                 "is no schedule",
		"61 * * * *":                    "is no schedule",
		"@never":                        "is no schedule",
		"@every x":                      "is no schedule",
		"TZ=UTC":                        "names a zone and no schedule",
		"CRON_TZ=Nowhere/X 0 6 * * *":   "is no schedule",
		"0 0 30 2 *":                    "never comes within five years",
		strings.Repeat("1,", 600) + "1": "bytes; 1024 are the most",
	} {
		_, err := NewInput(t.Context(), componentstest.Spec("bindings.cron", map[string]string{"schedule": text}))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestEvent: what an event holds, and when it comes.
func TestEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		input, err := NewInput(t.Context(), componentstest.Spec("bindings.cron", map[string]string{"schedule": "CRON_TZ=UTC 0 30 2 * * *"}))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		err = input.Read(ctx, func(_ context.Context, event *bindings.Event) ([]byte, error) {
			want := &bindings.Event{Metadata: map[string]string{"timeZone": "UTC", "readTimeUTC": "2000-01-01 02:30:00 +0000 UTC"}}
			if diff := cmp.Diff(want, event); diff != "" {
				t.Error(diff)
			}
			if waited := time.Since(began); waited != 2*time.Hour+30*time.Minute {
				t.Errorf("it came after %s", waited)
			}
			cancel()
			return nil, nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// TestSlowApplication: of the ticks that come while the application works on one, the first waits and the others are
// left out; one event runs at a time.
func TestSlowApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began, running := time.Now(), 0
		var starts []time.Duration
		err := of(every(time.Second)).Read(ctx, func(context.Context, *bindings.Event) ([]byte, error) {
			if running++; running > 1 {
				t.Error("two events at once")
			}
			defer func() { running-- }()
			starts = append(starts, time.Since(began))
			switch len(starts) {
			case 1:
				time.Sleep(10*time.Second + time.Millisecond)
			case 4:
				cancel()
			}
			return nil, nil
		})
		if err != nil {
			t.Error(err)
		}
		want := []time.Duration{1000, 11001, 12000, 13000}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if diff := cmp.Diff(want, starts); diff != "" {
			t.Error(diff)
		}
	})
}

// TestLastTick: a schedule that has no tick left keeps quiet until the end.
func TestLastTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		events := 0
		once := time.Now().Add(time.Minute)
		err := of(until(once)).Read(ctx, func(context.Context, *bindings.Event) ([]byte, error) {
			events++
			return nil, nil
		})
		if err != nil || events != 1 || ctx.Err() == nil {
			t.Errorf("%v, %d events", err, events)
		}
	})
}

type until time.Time

func (u until) Next(now time.Time) time.Time {
	if now.Before(time.Time(u)) {
		return time.Time(u)
	}
	return time.Time{}
}

func FuzzSchedule(f *testing.F) {
	for _, seed := range []string{"* * * * *", "*/5 0-10/2 1,2 JAN MON", "@every 5s", "@hourly", "TZ=UTC 0 0 * * *", "TZ=UTC", "CRON_TZ=", "@every -1s",
		"0 0 0 31 2 ?", "*/0 * * * *", "1-0 * * * *", "@every 9223372036854775807ns", " "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := schedule.Cron(text)
		if err != nil {
			return
		}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if next := parsed.Next(now); !next.IsZero() && !next.After(now) {
			t.Errorf("%q: the tick after %s is %s", text, now, next)
		}
	})
}
