package resiliency

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"
)

func FuzzRanges(f *testing.F) {
	for _, seed := range []string{"429,500-599", "", " ", "100", "599-100", "1-", "-1", "429,,500", "429, 500 - 502", "99999999999999999999", "0x1f4", "4 29", "+429"} {
		f.Add(seed, 429)
	}
	f.Fuzz(func(t *testing.T, text string, status int) {
		found, err := parseRanges(text, lowestHTTP, highestHTTP)
		if err != nil {
			return
		}
		says := found.says(status)
		if (strings.TrimSpace(text) == "") != (says == unlisted) {
			t.Errorf("%q says %d of %d", text, says, status)
		}
		if says == chosen && (status < lowestHTTP || status > highestHTTP) {
			t.Errorf("%q chooses %d", text, status)
		}
		if strings.TrimSpace(text) == strconv.Itoa(status) && says != chosen {
			t.Errorf("%q does not choose %d", text, status)
		}
	})
}

func FuzzTrip(f *testing.F) {
	for _, seed := range []string{"", "consecutiveFailures > 5", "totalFailures / requests >= 0.6", "requests % 0 == 1", "true", "1", "requests", "'a'",
		"[1,2].exists(x, x == requests)", "[[1,2,3],[4]].map(x, x).size() > 0", "double(totalFailures)/double(requests) > 0.5", "unknown > 1", "\"\\", "requests > "} {
		f.Add(seed, uint32(7), uint32(0), uint32(3))
	}
	f.Fuzz(func(t *testing.T, text string, requests, successes, failures uint32) {
		if len(text) > 1000 {
			return
		}
		trip, err := newTrip(text)
		if err != nil {
			if strings.ContainsRune(err.Error(), '\n') && !strings.ContainsRune(text, '\n') {
				t.Errorf("%q: an error of several lines: %s", text, err)
			}
			return
		}
		began := time.Now()
		trip(gobreaker.Counts{Requests: requests, TotalSuccesses: successes, TotalFailures: failures, ConsecutiveFailures: failures})
		if elapsed := time.Since(began); elapsed > time.Second {
			t.Errorf("%q took %s", text, elapsed)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"1", "", "Fri, 01 May 2026 12:00:30 GMT", "999999999", "9999999999", "-1", "1e3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if pause, ok := ParseRetryAfter(text, time.Now()); pause < 0 || (!ok && pause != 0) {
			t.Errorf("%q: %s, %t", text, pause, ok)
		}
	})
}
