package resiliency

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/daprd/daprd/pkg/config"
)

// matching chooses the statuses that are retried. A nil one chooses nothing itself.
type matching struct{ web, rpc ranges }

// ranges are from and to, both included. nil means that there is no list.
type ranges [][2]int

// listing is what a list says of a status.
type listing int

const (
	// unlisted: there is no list of that kind.
	unlisted listing = iota
	chosen
	refused
)

// The statuses that lists may name.
const (
	lowestHTTP, highestHTTP = 100, 599
	lowestGRPC, highestGRPC = 0, 16
)

func newMatching(m config.Matching) (found *matching, field string, err error) {
	web, err := parseRanges(string(m.HTTPStatusCodes), lowestHTTP, highestHTTP)
	if err != nil {
		return nil, "httpStatusCodes", err
	}
	rpc, err := parseRanges(string(m.GRPCStatusCodes), lowestGRPC, highestGRPC)
	if err != nil {
		return nil, "gRPCStatusCodes", err
	}
	if web == nil && rpc == nil {
		return nil, "", nil
	}
	return &matching{web, rpc}, "", nil
}

// parseRanges reads a list like "429,500-599"; an empty text is no list.
func parseRanges(text string, lowest, highest int) (ranges, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var found ranges
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		low, err := strconv.Atoi(strings.TrimSpace(from))
		high, err2 := strconv.Atoi(strings.TrimSpace(to))
		if err != nil || err2 != nil || low < lowest || high > highest || low > high {
			return nil, fmt.Errorf("%q is no status or range of statuses, want a list of numbers and ranges like a,b-c, each within %d to %d",
				part, lowest, highest)
		}
		found = append(found, [2]int{low, high})
	}
	return found, nil
}

func (r ranges) says(n int) listing {
	if r == nil {
		return unlisted
	}
	for _, each := range r {
		if n >= each[0] && n <= each[1] {
			return chosen
		}
	}
	return refused
}

func (m *matching) http(status int) listing {
	if m == nil {
		return unlisted
	}
	return m.web.says(status)
}

func (m *matching) grpc(code codes.Code) listing {
	if m == nil {
		return unlisted
	}
	return m.rpc.says(int(code))
}
