package test

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/daprd/daprd/pkg/config"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// daprFamilies is the list of Dapr's metrics (reference: service-invocation-and-security 13): name, type, labels beside
// app_id. Those of workflows, jobs, conversation and error codes come with their features; those of actors are
// actorFamilies.
const daprFamilies = `
dapr_http_server_request_count counter method path status
dapr_http_server_response_count counter method path status
dapr_http_server_latency histogram method path status
dapr_http_server_request_bytes histogram
dapr_http_server_response_bytes histogram
dapr_http_client_sent_bytes histogram method path status
dapr_http_client_received_bytes histogram
dapr_http_client_roundtrip_latency histogram method path status
dapr_http_client_completed_count counter method path status
dapr_http_healthprobes_completed_count counter status
dapr_http_healthprobes_roundtrip_latency histogram status
dapr_grpc_io_server_received_bytes_per_rpc histogram grpc_server_method
dapr_grpc_io_server_sent_bytes_per_rpc histogram grpc_server_method
dapr_grpc_io_server_server_latency histogram grpc_server_method grpc_server_status
dapr_grpc_io_server_completed_rpcs counter grpc_server_method grpc_server_status
dapr_grpc_io_client_sent_bytes_per_rpc histogram grpc_client_method
dapr_grpc_io_client_received_bytes_per_rpc histogram grpc_client_method
dapr_grpc_io_client_roundtrip_latency histogram grpc_client_method grpc_client_status
dapr_grpc_io_client_completed_rpcs counter grpc_client_method grpc_client_status
dapr_grpc_io_healthprobes_completed_count counter grpc_client_status
dapr_grpc_io_healthprobes_roundtrip_latency histogram grpc_client_status
dapr_runtime_component_loaded counter
dapr_runtime_component_init_total counter component
dapr_runtime_component_init_fail_total counter component componentName reason
dapr_runtime_mtls_init_total counter
dapr_runtime_mtls_workload_cert_rotated_total counter
dapr_runtime_service_invocation_req_sent_total counter dst_app_id type
dapr_runtime_service_invocation_req_recv_total counter src_app_id
dapr_runtime_service_invocation_res_sent_total counter dst_app_id status
dapr_runtime_service_invocation_res_recv_total counter src_app_id status type
dapr_runtime_service_invocation_res_recv_latency_ms histogram src_app_id status
dapr_component_pubsub_ingress_count counter component namespace process_status status topic
dapr_component_pubsub_ingress_latencies histogram component namespace process_status status topic
dapr_component_pubsub_egress_count counter component namespace success topic
dapr_component_pubsub_egress_latencies histogram component namespace success topic
dapr_component_pubsub_ingress_bulk_count counter component namespace process_status topic
dapr_component_pubsub_ingress_bulk_event_count counter component namespace process_status topic
dapr_component_pubsub_ingress_bulk_latencies histogram component namespace process_status topic
dapr_component_pubsub_egress_bulk_count counter component namespace success topic
dapr_component_pubsub_egress_bulk_event_count counter component namespace success topic
dapr_component_pubsub_egress_bulk_latencies histogram component namespace success topic
dapr_component_input_binding_count counter component namespace success
dapr_component_input_binding_latencies histogram component namespace success
dapr_component_output_binding_count counter component namespace operation success
dapr_component_output_binding_latencies histogram component namespace operation success
dapr_component_state_count counter component namespace operation success
dapr_component_state_latencies histogram component namespace operation success
dapr_component_secret_count counter component namespace operation success
dapr_component_secret_latencies histogram component namespace operation success
dapr_component_crypto_count counter component namespace operation success
dapr_component_crypto_latencies histogram component namespace operation success
dapr_resiliency_loaded counter name namespace
dapr_resiliency_count counter flow_direction name namespace policy status target
dapr_resiliency_activations_total counter flow_direction name namespace policy status target
dapr_resiliency_cb_state gauge flow_direction name namespace policy status target
`

// elsewhere are families of the same list that need what this mesh does not have: a server of configuration, a sentry,
// an access policy.
const elsewhere = `
dapr_component_configuration_count counter component namespace operation success
dapr_component_configuration_latencies histogram component namespace operation success
dapr_runtime_mtls_init_fail_total counter reason
dapr_runtime_mtls_workload_cert_rotated_fail_total counter reason
dapr_runtime_acl_app_policy_action_allowed_total counter namespace trustDomain
dapr_runtime_acl_app_policy_action_blocked_total counter namespace trustDomain
dapr_runtime_acl_global_policy_action_allowed_total counter namespace trustDomain
dapr_runtime_acl_global_policy_action_blocked_total counter namespace trustDomain
`

// own are families that the list does not have.
const own = `
daprd_metrics_folded_total counter family
daprd_traces_dropped_total counter exporter
`

// rows gives the lines of tables by their first word.
func rows(tables ...string) map[string]string {
	all := map[string]string{}
	for _, table := range tables {
		for line := range strings.Lines(strings.TrimSpace(table)) {
			name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			all[name] = rest
		}
	}
	return all
}

var (
	typeLine = regexp.MustCompile(`(?m)^# TYPE (dapr\w*) (\w+)$`)
	label    = regexp.MustCompile(`(\w+)="`)
)

// scraped gives the families of a scrape in the form of the tables.
func scraped(t *testing.T, text string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, found := range typeLine.FindAllStringSubmatch(text, -1) {
		name, kind := found[1], found[2]
		sample := regexp.MustCompile(`(?m)^` + name + `(?:_count)?\{(.*)\} `).FindStringSubmatch(text)
		if sample == nil {
			t.Errorf("%s has no samples, or none with labels", name)
			continue
		}
		words := []string{kind}
		for _, l := range label.FindAllStringSubmatch(sample[1], -1) {
			if l[1] != "app_id" {
				words = append(words, l[1])
			}
		}
		slices.Sort(words[1:])
		all[name] = strings.Join(words, " ")
	}
	return all
}

const meteredManifests = `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: store}
spec: {type: state.in-memory, version: v1}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: ps}
spec: {type: pubsub.in-memory, version: v1}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: vault}
spec: {type: secretstores.local.env, version: v1}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: keys}
spec: {type: crypto.dapr.localstorage, version: v1, metadata: [{name: path, value: DIR}]}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: files}
spec: {type: bindings.localstorage, version: v1, metadata: [{name: rootPath, value: DIR}]}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: tick}
spec: {type: bindings.cron, version: v1, metadata: [{name: schedule, value: "@every 20ms"}, {name: direction, value: input}]}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: broken}
spec: {type: bindings.cron, version: v1, ignoreErrors: true, metadata: [{name: schedule, value: "never"}]}
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: one}
spec: {pubsubname: ps, topic: one, routes: {default: /one}}
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: many}
spec: {pubsubname: ps, topic: many, routes: {default: /many}, bulkSubscribe: {enabled: true}}
---
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: careful}
spec:
  policies:
    retries: {twice: {policy: constant, duration: 1ms, maxRetries: 1}}
    circuitBreakers: {breaker: {trip: consecutiveFailures > 100}}
  targets:
    apps: {metered-back: {retry: twice, circuitBreaker: breaker}}
`

// back is a gRPC application.
type back struct {
	runtimev1.UnimplementedAppCallbackServer
	runtimev1.UnimplementedAppCallbackHealthCheckServer
}

func (back) OnInvoke(_ context.Context, req *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
	return &commonv1.InvokeResponse{Data: &anypb.Any{Value: req.GetData().GetValue()}}, nil
}

func (back) HealthCheck(context.Context, *emptypb.Empty) (*runtimev1.HealthCheckResponse, error) {
	return &runtimev1.HealthCheckResponse{}, nil
}

// metered is a mesh of two sidecars, one with an HTTP application and components, one with a gRPC application, after calls
// of every kind.
func metered(t *testing.T) (front, behind *runtimetest.Sidecar) {
	t.Helper()
	runtimetest.Isolate(t)
	app := startApplication(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/many" {
			_, _ = w.Write([]byte(`{"statuses":[{"entryId":"1","status":"SUCCESS"}]}`))
		}
	})
	address := serveGRPC(t, func(s *grpc.Server) {
		runtimev1.RegisterAppCallbackServer(s, back{})
		runtimev1.RegisterAppCallbackHealthCheckServer(s, back{})
	})
	dir := t.TempDir()
	writeKey(t, dir)
	behind = runtimetest.Start(t, "metered-back", runtimetest.App(address, config.GRPC), checking)
	front = runtimetest.Start(t, "metered", appOn(app), checking, runtimetest.Manifests(t, strings.ReplaceAll(meteredManifests, "DIR", dir)))
	for _, s := range []*runtimetest.Sidecar{front, behind} {
		eventually(t, "the application is well", func() bool { return strings.Contains(metricsOf(t, s), "healthprobes_completed_count{") })
	}
	overHTTP(t, front)
	overGRPC(t, front)
	return front, behind
}

func overHTTP(t *testing.T, s *runtimetest.Sidecar) {
	t.Helper()
	api := &httpAPI{client: http.DefaultClient, base: s.URL("")}
	for _, ask := range [][3]string{
		{"POST", "/v1.0/state/store", `[{"key":"k","value":1}]`}, {"GET", "/v1.0/state/store/k", ""}, {"GET", "/v1.0/secrets/vault/PATH", ""},
		{"POST", "/v1.0/publish/ps/one", "{}"}, {"POST", "/v1.0/publish/bulk/ps/many", `[{"entryId":"1","event":{},"contentType":"application/json"}]`},
		{"POST", "/v1.0/bindings/files", `{"operation":"list"}`},
		{"PUT", "/v1.0-alpha1/crypto/keys/encrypt", "text"},
		{"POST", "/v1.0/invoke/metered-back/method/echo", "x"}, {"GET", "/v1.0/invoke/metered/method/here", ""},
	} {
		header := http.Header{"Dapr-Key-Name": {"key"}, "Dapr-Key-Wrap-Algorithm": {"A256KW"}}
		if answer := api.call(t.Context(), ask[0], ask[1], ask[2], header); answer.err != nil || answer.status >= 300 {
			t.Errorf("%s %s: %d %s %v", ask[0], ask[1], answer.status, answer.body, answer.err)
		}
	}
}

func overGRPC(t *testing.T, s *runtimetest.Sidecar) {
	t.Helper()
	conn := dial(t, s.GRPCAddress().String())
	client := runtimev1.NewDaprClient(conn)
	if _, err := client.GetState(t.Context(), &runtimev1.GetStateRequest{StoreName: "store", Key: "k"}); err != nil {
		t.Error(err)
	}
	if _, err := client.InvokeService(t.Context(), &runtimev1.InvokeServiceRequest{Id: "metered-back", Message: &commonv1.InvokeRequest{Method: "echo"}}); err != nil {
		t.Error(err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "dapr-app-id", "metered-back")
	if _, err := runtimev1.NewAppCallbackHealthCheckClient(conn).HealthCheck(ctx, &emptypb.Empty{}); err != nil {
		t.Error(err)
	}
}

// TestMetricsAreDaprs: after calls of every kind over HTTP and gRPC, both sidecars show the families of the list, with
// its types and labels, and no others of the name.
func TestMetricsAreDaprs(t *testing.T) {
	front, behind := metered(t)
	want := rows(daprFamilies, own)
	listed := rows(daprFamilies, elsewhere, actorFamilies, own)
	var got map[string]string
	agrees := func() bool {
		got = scraped(t, metricsOf(t, behind))
		maps.Copy(got, scraped(t, metricsOf(t, front)))
		for name := range want {
			if _, ok := got[name]; !ok && !optional(name) {
				return false
			}
		}
		return true
	}
	settle(t, agrees, "every family has samples")
	for name := range want {
		if optional(name) {
			delete(want, name)
		}
	}
	for name := range got {
		if optional(name) {
			delete(got, name)
		}
		if _, ok := listed[name]; !ok {
			t.Errorf("%s stands in no list", name)
		}
	}
	for name := range rows(elsewhere) {
		delete(got, name)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	lint(t, metricsOf(t, front), listed)
	for s, lines := range map[*runtimetest.Sidecar]string{front: frontSamples, behind: behindSamples} {
		for line := range strings.Lines(strings.TrimSpace(lines)) {
			settle(t, func() bool { return strings.Contains(metricsOf(t, s), strings.TrimSpace(line)+"\n") }, line)
		}
	}
}

// What the calls count, at the sidecar that is called by its application and at the other one.
const (
	frontSamples = `
dapr_http_server_request_count{app_id="metered",method="GET",path="/v1.0/state/store",status="200"} 1
dapr_http_server_response_count{app_id="metered",method="POST",path="/v1.0/publish/ps/one",status="204"} 1
dapr_http_server_latency_count{app_id="metered",method="POST",path="/v1.0/invoke/metered-back/method/echo",status="200"} 1
dapr_http_client_completed_count{app_id="metered",method="GET",path="/here",status="200"} 1
dapr_http_client_sent_bytes_count{app_id="metered",method="POST",path="/one",status="200"} 1
dapr_grpc_io_server_completed_rpcs{app_id="metered",grpc_server_method="/dapr.proto.runtime.v1.Dapr/GetState",grpc_server_status="OK"} 1
dapr_component_state_count{app_id="metered",component="store",namespace="",operation="get",success="true"} 2
dapr_component_pubsub_ingress_count{app_id="metered",component="ps",namespace="",process_status="success",status="success",topic="one"} 1
dapr_component_pubsub_egress_bulk_event_count{app_id="metered",component="ps",namespace="",success="true",topic="many"} 1
dapr_resiliency_cb_state{app_id="metered",flow_direction="outbound",name="careful",namespace="",policy="circuitbreaker",status="closed",target="app_metered-back"} 1
dapr_runtime_component_init_fail_total{app_id="metered",component="bindings.cron",componentName="broken",reason="init"} 1
dapr_runtime_service_invocation_req_sent_total{app_id="metered",dst_app_id="metered-back",type="unary"} 2
dapr_runtime_service_invocation_req_sent_total{app_id="metered",dst_app_id="metered-back",type="streaming"} 1
dapr_runtime_service_invocation_res_recv_total{app_id="metered",src_app_id="metered-back",status="0",type="unary"} 2
dapr_runtime_service_invocation_res_recv_total{app_id="metered",src_app_id="metered-back",status="0",type="streaming"} 1
dapr_runtime_service_invocation_res_recv_latency_ms_count{app_id="metered",src_app_id="metered-back",status="0"} 3`
	behindSamples = `
dapr_grpc_io_client_completed_rpcs{app_id="metered-back",grpc_client_method="/dapr.proto.runtime.v1.AppCallback/OnInvoke",grpc_client_status="OK"} 2
dapr_runtime_service_invocation_req_recv_total{app_id="metered-back",src_app_id="metered"} 3
dapr_runtime_service_invocation_res_sent_total{app_id="metered-back",dst_app_id="metered",status="0"} 3`
)

// optional are families that show samples only after what this test does not bring about.
func optional(name string) bool {
	return name == "dapr_resiliency_activations_total" || name == "daprd_metrics_folded_total" || name == "daprd_traces_dropped_total"
}

// lint holds the names that the list does not fix against the rules of Prometheus.
func lint(t *testing.T, text string, listed map[string]string) {
	t.Helper()
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if _, fixed := listed[p.Metric]; !fixed || strings.HasPrefix(p.Metric, "daprd_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// dashboard is what is read of Grafana's model.
type dashboard struct {
	Title      string
	Panels     []panel
	Templating struct {
		List []struct{ Name, Query string }
	}
}

type panel struct {
	ID      int
	Title   string
	Type    string
	Targets []struct{ Expr string }
}

var metricName = regexp.MustCompile(`\b(?:dapr|daprd)_\w+\b`)

// TestDashboard: the dashboard asks for metrics that there are, by labels that they have, and leaves none of the lists out.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../docs/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	listed, shown, ids := rows(daprFamilies, elsewhere, actorFamilies, own), map[string]bool{}, map[int]string{}
	queries := []string{}
	for _, v := range d.Templating.List {
		queries = append(queries, v.Query)
	}
	for _, p := range d.Panels {
		if before, ok := ids[p.ID]; ok {
			t.Errorf("panels %q and %q have one id", before, p.Title)
		}
		ids[p.ID] = p.Title
		if p.Type != "row" && (len(p.Targets) == 0 || p.Title == "") {
			t.Errorf("panel %d %q shows nothing", p.ID, p.Title)
		}
		for _, target := range p.Targets {
			queries = append(queries, target.Expr)
		}
	}
	for _, query := range queries {
		for _, name := range metricName.FindAllString(query, -1) {
			family, labels := familyOf(listed, name)
			if family == "" {
				t.Errorf("%s: there is no metric %s", query, name)
			}
			shown[family] = true
			for _, l := range grouped(query) {
				if !slices.Contains(append(strings.Fields(labels), "app_id", "le", "instance"), l) {
					t.Errorf("%s: %s has no label %s", query, family, l)
				}
			}
		}
	}
	for name := range listed {
		if !shown[name] {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}

// familyOf is the family of a series' name.
func familyOf(listed map[string]string, name string) (family, labels string) {
	for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
		base := strings.TrimSuffix(name, suffix)
		if row, ok := listed[base]; ok {
			return base, cmp.Or(row, " ")
		}
	}
	return "", ""
}

var grouping = regexp.MustCompile(`\bby ?\(([^)]*)\)`)

// grouped are the labels that a query groups by.
func grouped(query string) (labels []string) {
	for _, found := range grouping.FindAllStringSubmatch(query, -1) {
		for l := range strings.SplitSeq(found[1], ",") {
			labels = append(labels, strings.TrimSpace(l))
		}
	}
	return labels
}

// writeKey puts a symmetric key named key into a folder.
func writeKey(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(dir+"/key", []byte(strings.Repeat("!", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestMetricSettings: spec.metrics of a Configuration is in force.
func TestMetricSettings(t *testing.T) {
	runtimetest.Isolate(t)
	app := startApplication(t, func(http.ResponseWriter, *http.Request) {})
	const spec = `
kind: Configuration
spec:
  metrics:
    http: {increasedCardinality: false, pathMatching: ["/v1.0/invoke/{app}/method/orders/{id}", "/orders/{id}"], excludeVerbs: true}
    latencyDistributionBuckets: [7, 70]
    rules:
    - {name: dapr_http_server_request_count, labels: [{name: status, regex: {2xx: "^2..$"}}]}
`
	s := runtimetest.Start(t, "settled", appOn(app), runtimetest.Configuration(t, spec))
	for _, id := range []string{"1", "2"} {
		plainly(t, s, "GET /v1.0/invoke/settled/method/orders/"+id)
	}
	settle(t, func() bool {
		text := metricsOf(t, s)
		for _, line := range []string{
			`dapr_http_server_request_count{app_id="settled",method="",path="/v1.0/invoke/{app}/method/orders/{id}",status="2xx"} 2`,
			`dapr_http_server_latency_count{app_id="settled",method="",path="/v1.0/invoke/{app}/method/orders/{id}",status="200"} 2`,
			`dapr_http_client_completed_count{app_id="settled",method="",path="/orders/{id}",status="200"} 2`,
		} {
			if !strings.Contains(text, line+"\n") {
				return false
			}
		}
		return strings.Contains(text, `le="70"`) && !strings.Contains(text, `le="100000"`) && !strings.Contains(text, "dapr_http_server_response_count")
	}, "the metrics are as the Configuration says")
}
