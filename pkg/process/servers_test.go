package process_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/daprd/daprd/pkg/process"
)

// TestTogether: one part that fails ends the others, and its error is what is told.
func TestTogether(t *testing.T) {
	broken := errors.New("broken")
	tests := map[string]struct {
		begin, part error
		want        error
	}{
		"the signal":        {nil, nil, nil},
		"begin fails":       {broken, nil, broken},
		"a part that fails": {nil, broken, broken},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := process.Together(ctx, func(ctx context.Context, start process.Start) error {
				start(func() error { <-ctx.Done(); return nil })
				if test.begin != nil {
					return test.begin
				}
				if test.part != nil {
					start(func() error { return test.part })
				} else {
					cancel()
				}
				<-ctx.Done()
				return nil
			})
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// TestObserved: /healthz follows ready, metrics are on every path, and a server that ends leaves nothing.
func TestObserved(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	log, _ := logtest.NewNullLogger()
	ready := make(chan struct{})
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "seen"}))
	err := process.Together(ctx, func(ctx context.Context, start process.Start) error {
		shown := process.Observed{HealthListenAddress: "127.0.0.1", EnableMetrics: true, MetricsListenAddress: "127.0.0.1"}
		health, scrape, err := shown.Serve(ctx, start, log, ready, metrics)
		if err != nil {
			return err
		}
		expect(t, "http://"+health.String()+"/healthz", http.StatusServiceUnavailable, "")
		close(ready)
		expect(t, "http://"+health.String()+"/healthz", http.StatusOK, "")
		expect(t, "http://"+scrape.String()+"/", http.StatusOK, "# HELP seen \n# TYPE seen counter\nseen 0\n")
		cancel()
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func expect(t *testing.T, url string, code int, body string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if response.StatusCode != code || err != nil || string(text) != body {
		t.Errorf("%s: %d %q %v", url, response.StatusCode, text, err)
	}
}
