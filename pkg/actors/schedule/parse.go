package schedule

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The bounds of texts: their bytes, the digits of a number in them, and the repetitions.
const (
	maxText        = 256
	maxDigits      = 9
	maxRepetitions = 1<<31 - 1
)

// parsePeriod reads a period and its number of firings, 0 without one.
func parsePeriod(kind Kind, text string) (every Every, repetitions int, err error) {
	if err := checkLength(text); err != nil || text == "" {
		return Every{}, 0, err
	}
	rest := text
	if strings.HasPrefix(text, "R") {
		number, duration, _ := strings.Cut(text[1:], "/")
		repetitions, err = strconv.Atoi(number)
		if err != nil || repetitions < 0 || repetitions > maxRepetitions {
			return Every{}, 0, unsupported("duration", text)
		}
		// Dapr 1.18 takes no repetitions of a reminder for any number of them.
		if repetitions == 0 && kind == Timer {
			return Every{}, 0, fmt.Errorf("%q has zero repetitions", text)
		}
		if duration == "" {
			return Every{}, repetitions, nil
		}
		rest = duration
	}
	every, err = parseEvery(rest)
	if err != nil {
		return Every{}, 0, err
	}
	if every.After(time.Unix(0, 0).UTC()).IsZero() {
		return Every{}, 0, fmt.Errorf("%q is longer than time: %w", text, errLate)
	}
	return every, repetitions, nil
}

func parseEvery(text string) (Every, error) {
	if every, ok := parseISO(text); ok {
		return every, nil
	}
	text = strings.TrimPrefix(text, "@every ")
	if clock, err := time.ParseDuration(text); err == nil {
		if clock < 0 {
			return Every{}, fmt.Errorf("%q is negative", text)
		}
		return Every{clock: clock}, nil
	}
	if strings.HasPrefix(text, "@") || strings.Contains(text, " ") {
		schedule, err := Cron(text)
		return Every{cron: schedule}, err
	}
	return Every{}, unsupported("duration", text)
}

// parseInstant reads an instant, or a duration counted from from.
func parseInstant(text string, from time.Time) (time.Time, error) {
	if err := checkLength(text); err != nil {
		return time.Time{}, err
	}
	t := from
	if strings.HasPrefix(text, "R") {
		return t, fmt.Errorf("repetitions are not allowed: %q", text)
	} else if every, ok := parseISO(text); ok {
		t = every.After(from)
	} else if clock, err := time.ParseDuration(text); err == nil {
		t = from.Add(clock)
	} else if t, err = time.Parse(time.RFC3339Nano, text); err != nil {
		return t, unsupported("time/duration", text)
	}
	t = inTime(t.UTC())
	if t.IsZero() {
		return t, fmt.Errorf("%q: %w", text, errLate)
	}
	return t, nil
}

// parseISO reads P[nY][nM][nW][nD][T[nH][nM][nS]]: whole numbers, each unit once, in any order, at least one of them.
func parseISO(text string) (Every, bool) {
	rest, ok := strings.CutPrefix(text, "P")
	if !ok || rest == "" {
		return Every{}, false
	}
	date, clock, hasClock := strings.Cut(rest, "T")
	days, ok := units(date, "YMWD")
	if !ok || hasClock && clock == "" {
		return Every{}, false
	}
	hours, ok := units(clock, "HMS")
	if !ok {
		return Every{}, false
	}
	seconds := (int64(hours['H'])*60+int64(hours['M']))*60 + int64(hours['S'])
	if seconds > int64(time.Duration(1<<63-1)/time.Second) {
		return Every{}, false
	}
	return Every{months: days['Y']*12 + days['M'], days: days['W']*7 + days['D'], clock: time.Duration(seconds) * time.Second}, true
}

// units reads numbers, each followed by another letter of known.
func units(text, known string) (map[byte]int, bool) {
	found := make(map[byte]int, len(known))
	for text != "" {
		end := strings.IndexAny(text, known)
		if end <= 0 || end > maxDigits {
			return nil, false
		}
		number, err := strconv.ParseUint(text[:end], 10, 32)
		if _, twice := found[text[end]]; err != nil || twice {
			return nil, false
		}
		found[text[end]] = int(number)
		text = text[end+1:]
	}
	return found, true
}

func unsupported(what, text string) error { return fmt.Errorf("unsupported %s format %q", what, text) }

func checkLength(text string) error {
	if len(text) > maxText {
		return fmt.Errorf("it has %d bytes; %d are the most", len(text), maxText)
	}
	return nil
}
