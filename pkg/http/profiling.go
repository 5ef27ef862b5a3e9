package http

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/listen"
)

// Profiling is the server of --enable-profiling: pprof under /debug/pprof/, on addresses of its own.
type Profiling struct {
	server    *http.Server
	listeners []net.Listener
	serving   sync.WaitGroup
}

// ListenProfiling binds port on each of the addresses, as Listen does, and serves until Close.
func ListenProfiling(ctx context.Context, addresses []string, port int, log logrus.FieldLogger) (*Profiling, error) {
	for _, address := range addresses {
		log.Infof("starting profiling server on %s:%s", address, strconv.Itoa(port))
	}
	bound, err := listen.TCP(ctx, addresses, port, log)
	if err != nil {
		return nil, fmt.Errorf("profiling server: %w", err)
	}
	p := &Profiling{server: &http.Server{Handler: profiles(), ReadHeaderTimeout: headerTimeout}, listeners: bound}
	for _, l := range p.listeners {
		p.serving.Add(1)
		go func() {
			defer p.serving.Done()
			_ = p.server.Serve(l)
		}()
	}
	return p, nil
}

// Addresses are where it listens.
func (p *Profiling) Addresses() []net.Addr {
	return listen.Addresses(p.listeners)
}

// Close ends the server at once: nobody waits for a profile when the sidecar ends.
func (p *Profiling) Close() error {
	err := p.server.Close()
	p.serving.Wait()
	return err
}

func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
