package runtime_test

import (
	"strings"
	"testing"

	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// TestMetricSettingsThatCannotBeUsed: they end the start, and the error names their key.
func TestMetricSettingsThatCannotBeUsed(t *testing.T) {
	for text, want := range map[string]string{
		"latencyDistributionBuckets: [70, 7]":                      "spec.metrics: latencyDistributionBuckets: 7 stands behind 70",
		"http: {pathMatching: ['{x']}":                             `spec.metrics: http.pathMatching: "{x" is no path`,
		"rules: [{name: m, labels: [{name: l, regex: {r: '('}}]}]": `spec.metrics: rules: the pattern "(" for label l of m: `,
	} {
		err := runError(t, runtimetest.Configuration(t, "spec:\n  metrics:\n    "+text+"\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}
