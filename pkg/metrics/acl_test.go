package metrics_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/daprd/daprd/pkg/metrics"
)

func TestAccessDecided(t *testing.T) {
	registry := metrics.New("app", "ns")
	registry.Configure(metrics.Settings{Enabled: true})
	for i, own := range []bool{true, true, false, false} {
		for range i + 1 {
			registry.AccessDecided("td", "far", "caller", own, i%2 == 0)
		}
	}
	registry.AccessDecided("", "", "", false, false)
	for i := range 1100 {
		registry.AccessDecided("td", "far", fmt.Sprint("many", i), true, false)
	}
	text := scrape(t, registry, "/")
	for _, line := range []string{
		`app_policy_action_allowed_total{app_id="caller",namespace="far",trustDomain="td"} 1`,
		`app_policy_action_blocked_total{app_id="caller",namespace="far",trustDomain="td"} 2`,
		`global_policy_action_allowed_total{app_id="caller",namespace="far",trustDomain="td"} 3`,
		`global_policy_action_blocked_total{app_id="caller",namespace="far",trustDomain="td"} 4`,
		`global_policy_action_blocked_total{app_id="",namespace="",trustDomain=""} 1`,
		`app_policy_action_blocked_total{app_id="many0",namespace="far",trustDomain="td"} 1`,
		`app_policy_action_blocked_total{app_id="_other",namespace="_other",trustDomain="_other"} 101`,
	} {
		if !strings.Contains(text, "dapr_runtime_acl_"+line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
}
