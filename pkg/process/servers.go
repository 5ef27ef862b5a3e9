package process

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/listen"
)

// headerTimeout is how long a caller may take for the headers of a request.
const headerTimeout = 10 * time.Second

// Start has a part at work; an error of it ends all others.
type Start func(part func() error)

// Together runs begin, and the parts that begin starts, until ctx ends or one of them fails: then the context that begin
// was given ends, and all of them are waited for. begin returns when that context ends, or with an error at once.
func Together(ctx context.Context, begin func(ctx context.Context, start Start) error) error {
	serving, stop := context.WithCancelCause(ctx)
	var work sync.WaitGroup
	err := begin(serving, func(part func() error) {
		work.Go(func() {
			if err := part(); err != nil {
				stop(err)
			}
		})
	})
	stop(err)
	work.Wait()
	if err == nil && ctx.Err() == nil {
		return context.Cause(serving)
	}
	return err
}

// Observed says where a process shows how it is. Port 0 has the system choose one.
type Observed struct {
	HealthListenAddress string
	HealthPort          int
	// Pages are further paths of the health port, nil for none.
	Pages map[string]http.Handler

	EnableMetrics        bool
	MetricsListenAddress string
	MetricsPort          int
}

// Serve answers /healthz, with 503 until ready is closed, and shows metrics, until ctx ends. scrape is nil without metrics.
func (o *Observed) Serve(ctx context.Context, start Start, log logrus.FieldLogger, ready <-chan struct{}, metrics prometheus.Gatherer) (health, scrape net.Addr, err error) {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-ready:
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	for path, page := range o.Pages {
		mux.Handle(path, page)
	}
	if health, err = HTTP(ctx, start, log, Endpoint{Address: o.HealthListenAddress, Port: o.HealthPort}, mux); err != nil {
		return nil, nil, fmt.Errorf("health server: %w", err)
	}
	log.Infof("Healthz server is listening on %s", health)
	if !o.EnableMetrics {
		return health, nil, nil
	}
	handler := promhttp.HandlerFor(metrics, promhttp.HandlerOpts{})
	if scrape, err = HTTP(ctx, start, log, Endpoint{Address: o.MetricsListenAddress, Port: o.MetricsPort}, handler); err != nil {
		return nil, nil, fmt.Errorf("metrics server: %w", err)
	}
	log.Infof("metrics server started on %s/", scrape)
	return health, scrape, nil
}

// Endpoint is where a server listens.
type Endpoint struct {
	// Address is "" for all interfaces; port 0 has the system choose one.
	Address string
	Port    int
	// TLS is nil for plain HTTP.
	TLS *tls.Config
	// Grace is how long calls in flight have when the server ends.
	Grace time.Duration
}

// HTTP serves until ctx ends.
func HTTP(ctx context.Context, start Start, logger logrus.FieldLogger, at Endpoint, handler http.Handler) (net.Addr, error) {
	listeners, err := listen.TCP(ctx, []string{at.Address}, at.Port, logger)
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: headerTimeout, TLSConfig: at.TLS}
	listener := listeners[0]
	serve := server.Serve
	if at.TLS != nil {
		// What callers do wrong in their handshakes is theirs to know.
		server.ErrorLog = log.New(io.Discard, "", 0)
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	start(func() error {
		if err := serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	start(func() error {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), at.Grace)
		defer cancel()
		if server.Shutdown(end) != nil {
			_ = server.Close()
		}
		return nil
	})
	return listener.Addr(), nil
}
