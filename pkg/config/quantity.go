package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseQuantity reads a size as Kubernetes writes it: a decimal number and one of Ki Mi Gi Ti Pi Ei (powers
// of 1024) or k M G T P E (powers of 1000), or no suffix for bytes. The result is in bytes, rounded up.
func ParseQuantity(text string) (int64, error) {
	suffixes := []struct {
		text  string
		value float64
	}{
		{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"Ti", 1 << 40}, {"Pi", 1 << 50}, {"Ei", 1 << 60},
		{"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}, {"P", 1e15}, {"E", 1e18},
	}
	number, factor := text, 1.0
	for _, suffix := range suffixes {
		if rest, ok := strings.CutSuffix(text, suffix.text); ok {
			number, factor = rest, suffix.value
			break
		}
	}
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.ContainsAny(number, "xXpP_nN") || math.Abs(value*factor) >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is no size; write a number with Ki, Mi, Gi (powers of 1024) or k, M, G (powers of 1000), 4Mi for one", text)
	}
	return int64(math.Ceil(value * factor)), nil
}
