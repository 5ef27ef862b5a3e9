package schedule

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// longestCron bounds, in bytes, what a cron schedule is read from.
const longestCron = 1 << 10

// Cron reads five fields (minute, hour, day of the month, month, day of the week), six (seconds before them) or a
// descriptor like @hourly. Times are those of the zone that it names (TZ=…), else of the sidecar's. A schedule that does
// not come within five years is an error.
func Cron(text string) (cron.Schedule, error) {
	text = strings.TrimSpace(text)
	if len(text) > longestCron {
		return nil, fmt.Errorf("it has %d bytes; %d are the most", len(text), longestCron)
	}
	// The library fails on a zone that nothing follows.
	if zone, _, more := strings.Cut(text, " "); !more && (strings.HasPrefix(zone, "TZ=") || strings.HasPrefix(zone, "CRON_TZ=")) {
		return nil, fmt.Errorf("%q names a zone and no schedule", text)
	}
	parser := cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	schedule, err := parser.Parse(text)
	if err != nil {
		return nil, fmt.Errorf(`%q is no schedule: %w; want five or six fields like "0 30 * * * *", or one like "@every 15m" or "@hourly"`, text, err)
	}
	if schedule.Next(time.Now()).IsZero() {
		return nil, fmt.Errorf("%q never comes within five years: look at its day and month", text)
	}
	return schedule, nil
}
