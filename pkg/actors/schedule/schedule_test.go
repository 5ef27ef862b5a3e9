package schedule

import (
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// TestNew: what is due when, firing by firing.
func TestNew(t *testing.T) {
	cases := []struct {
		name string
		kind Kind
		spec Spec
		// want are the firings, at most five, as differences to now or as instants.
		want string
	}{
		{"nothing", Timer, Spec{}, "0s"},
		{"go duration", Timer, Spec{DueTime: "1h30m"}, "1h30m0s"},
		{"iso", Timer, Spec{DueTime: "PT1H30M"}, "1h30m0s"},
		{"iso, calendar", Timer, Spec{DueTime: "P1Y1M1W1DT1S"}, "2027-03-11T12:00:01Z"},
		{"units in any order", Timer, Spec{DueTime: "PT1S1M"}, "1m1s"},
		{"instant", Timer, Spec{DueTime: "2026-01-31T13:00:00+01:00"}, "0s"},
		{"instant, nanoseconds", Timer, Spec{DueTime: "2026-01-31T12:00:00.000000001Z"}, "1ns"},
		{"instant that is over", Timer, Spec{DueTime: "2026-01-31T11:00:00Z"}, "-1h0m0s"},
		{"period", Timer, Spec{Period: "1m"}, "0s 1m0s 2m0s 3m0s 4m0s …"},
		{"period of a reminder", Reminder, Spec{Period: "1m"}, "1m0s 2m0s 3m0s 4m0s 5m0s …"},
		{"every", Timer, Spec{Period: "@every 1h0m0s"}, "0s 1h0m0s 2h0m0s 3h0m0s 4h0m0s …"},
		{"repetitions", Timer, Spec{DueTime: "1s", Period: "R3/PT1S"}, "1s 2s 3s"},
		{"repetitions of a go duration", Timer, Spec{DueTime: "1s", Period: "R2/1s"}, "1s 2s"},
		{"repetitions alone", Timer, Spec{Period: "R5/"}, "0s"},
		{"repetitions alone, no slash", Timer, Spec{Period: "R5"}, "0s"},
		{"no repetitions of a reminder", Reminder, Spec{DueTime: "0s", Period: "R0/PT1S"}, "0s 1s 2s 3s 4s …"},
		{"zero period", Timer, Spec{DueTime: "1s", Period: "0s"}, "1s"},
		{"zero period, iso", Reminder, Spec{DueTime: "1s", Period: "P0D"}, "1s"},
		{"months", Timer, Spec{Period: "R3/P1M"}, "0s 2026-03-03T12:00:00Z 2026-04-03T12:00:00Z"},
		{"days", Timer, Spec{Period: "R2/P1DT1H"}, "0s 25h0m0s"},
		{"weeks", Timer, Spec{Period: "R2/P2W"}, "0s 336h0m0s"},
		{"ttl counts from the due time", Timer, Spec{DueTime: "10s", Period: "1s", TTL: "2s"}, "10s 11s 12s"},
		{"ttl, iso", Timer, Spec{Period: "1s", TTL: "PT1S"}, "0s 1s"},
		{"ttl, instant", Timer, Spec{Period: "30m", TTL: "2026-01-31T12:45:00Z"}, "0s 30m0s"},
		{"cron of five fields", Timer, Spec{Period: "TZ=UTC 30 * * * *"}, "30m0s 1h30m0s 2h30m0s 3h30m0s 4h30m0s …"},
		{"cron of six fields", Reminder, Spec{Period: "CRON_TZ=UTC */20 * * * * *", TTL: "30s"}, "20s 40s"},
		{"cron, due time", Reminder, Spec{DueTime: "1s", Period: "CRON_TZ=UTC */20 * * * * *", TTL: "30s"}, "1s 20s"},
		{"descriptor", Timer, Spec{Period: "TZ=UTC @daily", TTL: "1h"}, "12h0m0s"},
		{"end of time", Timer, Spec{DueTime: "9999-12-31T00:00:00Z", Period: "P1Y"}, "9999-12-31T00:00:00Z"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			plan, err := New(c.kind, now, c.spec)
			if err != nil {
				t.Fatal(err)
			}
			if got := firings(plan); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func firings(plan Plan) string {
	var all []string
	for more := true; more; plan, more = plan.Next() {
		if len(all) == 5 {
			return strings.Join(append(all, "…"), " ")
		}
		if after := plan.Due.Sub(now); after < 30*24*time.Hour {
			all = append(all, after.String())
		} else {
			all = append(all, plan.Due.Format(time.RFC3339Nano))
		}
	}
	return strings.Join(all, " ")
}

// TestErrors: what cannot be read, in Dapr's texts where they are known.
func TestErrors(t *testing.T) {
	cases := []struct {
		kind Kind
		spec Spec
		want string
	}{
		{Reminder, Spec{DueTime: "xx"}, `error parsing reminder due time: unsupported time/duration format "xx"`},
		{Reminder, Spec{DueTime: "1h", Period: "zz"}, `error parsing reminder period: unsupported duration format "zz"`},
		{Timer, Spec{DueTime: "R2/PT1S"}, `error parsing timer due time: repetitions are not allowed: "R2/PT1S"`},
		{Timer, Spec{TTL: "R2/PT1S"}, `error parsing timer TTL: repetitions are not allowed: "R2/PT1S"`},
		{Timer, Spec{Period: "R0/PT1S"}, `error parsing timer period: "R0/PT1S" has zero repetitions`},
		{Timer, Spec{Period: "R-1/PT1S"}, `error parsing timer period: unsupported duration format "R-1/PT1S"`},
		{Timer, Spec{Period: "R99999999999/PT1S"}, `error parsing timer period: unsupported duration format "R99999999999/PT1S"`},
		{Timer, Spec{Period: "-1s"}, `error parsing timer period: "-1s" is negative`},
		{Timer, Spec{Period: "P"}, `error parsing timer period: unsupported duration format "P"`},
		{Timer, Spec{Period: "PT"}, `error parsing timer period: unsupported duration format "PT"`},
		{Timer, Spec{Period: "P1S"}, `error parsing timer period: unsupported duration format "P1S"`},
		{Timer, Spec{Period: "P1.5D"}, `error parsing timer period: unsupported duration format "P1.5D"`},
		{Timer, Spec{Period: "P1D2D"}, `error parsing timer period: unsupported duration format "P1D2D"`},
		{Timer, Spec{Period: "P99999Y"}, `error parsing timer period: "P99999Y" is longer than time: it is after the year 9999`},
		{Timer, Spec{DueTime: "P9000Y"}, `error parsing timer due time: "P9000Y": it is after the year 9999`},
		{Timer, Spec{Period: "PT9999999999S"}, `error parsing timer period: unsupported duration format "PT9999999999S"`},
		{Timer, Spec{Period: strings.Repeat("1", 257)}, `error parsing timer period: it has 257 bytes; 256 are the most`},
		{Timer, Spec{DueTime: strings.Repeat("1", 257)}, `error parsing timer due time: it has 257 bytes; 256 are the most`},
		{Timer, Spec{TTL: "-1s"}, "timer has already expired: its due time is 2026-01-31T12:00:00Z, the end of its time to live 2026-01-31T11:59:59Z"},
		{Reminder, Spec{DueTime: "2h", TTL: "2026-01-31T13:00:00Z"},
			"reminder has already expired: its due time is 2026-01-31T14:00:00Z, the end of its time to live 2026-01-31T13:00:00Z"},
		{Reminder, Spec{}, "there must be a due time or a period"},
		{Timer, Spec{Period: "0 0 30 2 *"}, `error parsing timer period: "0 0 30 2 *" never comes within five years: look at its day and month`},
		{Timer, Spec{Period: "@sometimes"}, `error parsing timer period: "@sometimes" is no schedule: unrecognized descriptor: @sometimes; want five or six fields ` +
			`like "0 30 * * * *", or one like "@every 15m" or "@hourly"`},
	}
	for _, c := range cases {
		if _, err := New(c.kind, now, c.spec); err == nil || err.Error() != c.want {
			t.Errorf("%+v: %v\nwant %s", c.spec, err, c.want)
		}
	}
}

// TestSkip: firings that were missed do not come; the others stay where they were.
func TestSkip(t *testing.T) {
	cases := []struct {
		period string
		late   time.Duration
		want   string
	}{
		{"1m", 0, "1m0s"},
		{"1m", time.Minute, "1m0s"},
		{"1m", 61 * time.Second, "2m0s"},
		{"1ns", 365 * 24 * time.Hour, "8760h0m0s"},
		{"P1D", 49 * time.Hour, "72h0m0s"},
		{"TZ=UTC */10 * * * *", 25 * time.Minute, "30m0s"},
	}
	for _, c := range cases {
		plan, err := New(Timer, now, Spec{DueTime: "0s", Period: c.period})
		if err != nil {
			t.Fatal(err)
		}
		next, more := plan.Skip(now.Add(c.late))
		if got := next.Due.Sub(now).String(); !more || got != c.want {
			t.Errorf("%s, %v late: %s, want %s", c.period, c.late, got, c.want)
		}
	}
	plan, _ := New(Timer, now, Spec{Period: "1s", TTL: "10s"})
	if next, more := plan.Skip(now.Add(time.Minute)); more {
		t.Errorf("after its end it fires at %v", next.Due)
	}
}

// FuzzNew gives any texts: it ends, and what is due is due in order and can be written.
func FuzzNew(f *testing.F) {
	for _, period := range []string{"1h", "R5/PT30M", "P1Y2M3W4DT5H6M7S", "@every 1s", "*/5 * * * *", "TZ=", "R", "P1YT"} {
		f.Add("1s", period, "1h")
	}
	f.Fuzz(func(t *testing.T, dueTime, period, ttl string) {
		for _, kind := range []Kind{Timer, Reminder} {
			plan, err := New(kind, now, Spec{dueTime, period, ttl})
			if err != nil {
				continue
			}
			for range 10 {
				if _, err := plan.Due.MarshalText(); err != nil {
					t.Fatalf("%v: %v", plan, err)
				}
				next, more := plan.Next()
				if !more {
					break
				}
				if !next.Due.After(plan.Due) {
					t.Fatalf("%v comes after %v", next.Due, plan.Due)
				}
				plan = next
			}
			if next, more := plan.Skip(plan.Due.Add(1000 * time.Hour)); more && next.Due.Before(plan.Due.Add(1000*time.Hour)) {
				t.Fatalf("%v is not skipped", next.Due)
			}
		}
	})
}
