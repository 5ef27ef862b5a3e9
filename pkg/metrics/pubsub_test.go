package metrics_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/daprd/daprd/pkg/metrics"
)

// TestPubSubFamilies: the families of publish and subscribe (reference: service-invocation-and-security 13.4).
func TestPubSubFamilies(t *testing.T) {
	registry := configured(t, metrics.Settings{Enabled: true})
	registry.Published("ps")("t", true, 1500*time.Microsecond)
	registry.Published("ps")("t", true, time.Millisecond)
	registry.Published("ps")("t", false, time.Millisecond)
	registry.PublishedBulk("ps")("t", true, 7, 2*time.Millisecond)
	registry.Delivered("ps")("t", "retry", 3*time.Millisecond)
	registry.DeliveredBulk("ps")("t\xff", "success", 5, 4*time.Millisecond)

	text := scrape(t, registry, "/")
	for _, line := range []string{
		`egress_count{app_id="app",component="ps",namespace="ns",success="true",topic="t"} 2`,
		`egress_count{app_id="app",component="ps",namespace="ns",success="false",topic="t"} 1`,
		`egress_latencies_sum{app_id="app",component="ps",namespace="ns",success="true",topic="t"} 2.5`,
		`egress_bulk_count{app_id="app",component="ps",namespace="ns",success="true",topic="t"} 1`,
		`egress_bulk_event_count{app_id="app",component="ps",namespace="ns",success="true",topic="t"} 7`,
		`egress_bulk_latencies_sum{app_id="app",component="ps",namespace="ns",success="true",topic="t"} 2`,
		`ingress_count{app_id="app",component="ps",namespace="ns",process_status="retry",status="retry",topic="t"} 1`,
		`ingress_latencies_sum{app_id="app",component="ps",namespace="ns",process_status="retry",status="retry",topic="t"} 3`,
		`ingress_bulk_count{app_id="app",component="ps",namespace="ns",process_status="success",topic="t�"} 1`,
		`ingress_bulk_event_count{app_id="app",component="ps",namespace="ns",process_status="success",topic="t�"} 5`,
	} {
		if !strings.Contains(text, "dapr_component_pubsub_"+line+"\n") {
			t.Errorf("the scrape lacks %s", line)
		}
	}
}

// TestTopicsAreBounded: topics come from outside.
func TestTopicsAreBounded(t *testing.T) {
	registry := configured(t, metrics.Settings{Enabled: true})
	published := registry.Published("ps")
	for i := range 1500 {
		published(fmt.Sprint("t", i), true, time.Millisecond)
	}
	text := scrape(t, registry, "/")
	if n := strings.Count(text, "dapr_component_pubsub_egress_count{"); n != 1001 {
		t.Errorf("%d label sets", n)
	}
	if !strings.Contains(text, `dapr_component_pubsub_egress_count{app_id="app",component="ps",namespace="ns",success="true",topic="_other"} 500`) {
		t.Error("what is past the bound is not counted under _other")
	}
}
