package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
)

// observation is a row of the cheapest call that does something, by a sidecar of its own: what metrics and tracing cost.
type observation struct{ name, spec string }

// observations are held against the first. The collector of the last takes what it is sent and looks at nothing.
var observations = []observation{
	{"state get: metrics off, tracing off", `{metrics: {enabled: false}, tracing: {samplingRate: "0"}}`},
	{"state get: metrics on, tracing off", `{tracing: {samplingRate: "0"}}`},
	{"state get: metrics off, no word of tracing", `{metrics: {enabled: false}}`},
	{"state get: metrics off, 1 of 10,000 sampled", `{metrics: {enabled: false}, tracing: {samplingRate: "0.0001"}}`},
	{"state get: metrics off, all sampled, OTLP", `{metrics: {enabled: false}, tracing: {samplingRate: "1", otel: {protocol: http, isSecure: false, endpointAddress: "COLLECTOR"}}}`},
}

// observed measures an observation.
func (s *suite) observed(ctx context.Context, o observation) error {
	if !s.wanted(o.name) {
		return nil
	}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer collector.Close()
	file := filepath.Join(s.dir, "observed.yaml")
	text := "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: observed}\nspec: " +
		strings.Replace(o.spec, "COLLECTOR", collector.Listener.Addr().String(), 1) + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	one, err := startSidecar(ctx, s.daprd, s.dir, "observed", 0, "--config", file)
	if err != nil {
		return fmt.Errorf("%s: %w", o.name, err)
	}
	defer one.stop()
	if err := fill(one); err != nil {
		return err
	}
	return s.row(ctx, scenario{o.name, s.load("GET", one.url("/v1.0/state/store/key"), 0), []*sidecar{one}, ""})
}
