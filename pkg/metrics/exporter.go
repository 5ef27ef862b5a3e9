package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Exporter is the metrics server. It answers on every path.
type Exporter struct {
	server   *http.Server
	listener net.Listener
	done     chan error
}

// Listen binds address ("0.0.0.0:9090") and serves the registry until Close.
func Listen(ctx context.Context, address string, registry *Registry) (*Exporter, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("failed to start metrics server: %w", err)
	}
	handler := promhttp.HandlerFor(registry.prometheus, promhttp.HandlerOpts{})
	exporter := &Exporter{
		server:   &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second},
		listener: listener,
		done:     make(chan error, 1),
	}
	go func() { exporter.done <- exporter.server.Serve(listener) }()
	return exporter, nil
}

// Address is where it listens.
func (e *Exporter) Address() net.Addr { return e.listener.Addr() }

// Close ends the server; scrapes in flight have until ctx ends.
func (e *Exporter) Close(ctx context.Context) error {
	err := e.server.Shutdown(ctx)
	if served := <-e.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
