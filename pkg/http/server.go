// Package http is the HTTP API of the sidecar: it decodes a request, makes one call on a building block and
// encodes the answer. It holds no meaning of its own: what a call does is the block's matter, and an error is
// a row of apierr that errors.go prints. It must not know components, nor which protocol the application
// speaks.
//
// HTTP/1.1 is served by fasthttp, HTTP/2 with prior knowledge by net/http in front of the same handlers.
// Request and response bodies flow through; a call counts as ended when its last byte is out.
package http

import (
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/valyala/fasthttp"

	"github.com/daprd/daprd/pkg/api"
	"github.com/daprd/daprd/pkg/middleware"
	"github.com/daprd/daprd/pkg/security"
	"github.com/daprd/daprd/pkg/tracing"
)

// headerSlack is what Dapr 1.18 takes beyond --read-buffer-size before it answers 431.
const headerSlack = 4 << 10

// headerTimeout bounds the time between the first byte of a request and the end of its header: the
// read-header timeout of Dapr 1.18. Bodies have no such bound.
const headerTimeout = 10 * time.Second

// Config is what users say of the server.
type Config struct {
	// MaxBodySize is the most bytes of a request body; 0 and less is no limit.
	MaxBodySize int64
	// ReadBufferSize is the most bytes of a request header, to which 4 KiB are added as Dapr does; 0 and less
	// is the default of 4 KiB.
	ReadBufferSize int
	// AllowedOrigins is --allowed-origins: "" switches CORS off, "*" allows every origin, else a list with
	// commas.
	AllowedOrigins string
	// Token is DAPR_API_TOKEN.
	Token security.Token
	// Allowed and Denied are spec.api of the Configuration, the rules of the protocol http.
	Allowed, Denied []Rule
	// ObfuscateURLs logs the names of endpoints in the API log instead of their paths.
	ObfuscateURLs bool
	// OmitHealthChecks keeps health checks out of the API log.
	OmitHealthChecks bool
	// NoTracing leaves the trace headers out of answers, as Dapr does with a sampling rate of "0".
	NoTracing bool
	// DisableHTTP2 is DAPR_HTTP_DISABLE_H2C.
	DisableHTTP2 bool
}

// Observer is told of every call when its last byte is out: the seam of the metrics. Verb is from a bounded set. Label is
// the part of path that metrics show; both are what callers sent, and valid during the call only. Received and sent are the
// bytes of the bodies.
type Observer interface {
	HTTPServed(verb, path, label string, status int, received, sent int64, elapsed time.Duration)
}

// Deps are what the server needs from the sidecar around it.
type Deps struct {
	Blocks api.Blocks
	Log    logrus.FieldLogger
	// APILog takes a line for every call of the API; nil switches the API log off.
	APILog logrus.FieldLogger
	// Observer is told of every call; nil observes nothing.
	Observer Observer
	// Pipeline is the middleware between the API token and the routes; nil is none.
	Pipeline *middleware.Pipeline
	// Tracer makes the spans of the calls; nil makes none.
	Tracer *tracing.Tracer
}

// Server is the HTTP API. Listen and its sisters come first, then Serve, Quiesce and Close, each once.
type Server struct {
	config Config
	blocks api.Blocks
	log    logrus.FieldLogger
	apiLog logrus.FieldLogger

	observer Observer
	pipeline *middleware.Pipeline
	tracer   *tracing.Tracer
	origins  *origins
	routes   *router
	public   *router
	// idle are the rules of the Configuration that select nothing.
	idle []Rule

	http1 *fasthttp.Server
	http2 *http2Server

	mu        sync.Mutex
	listeners []listener
	conns     map[*conn]struct{}
	draining  atomic.Bool
	accepting sync.WaitGroup
	serving   sync.WaitGroup
	// headerTime and parkTime are headerTimeout and parkTime but in tests.
	headerTime, parkTime time.Duration
	parkers              sync.WaitGroup
	closed               chan struct{}
	closing              sync.Once
}

// New makes a server that listens nowhere yet.
func New(config Config, deps Deps) *Server {
	if config.ReadBufferSize <= 0 {
		config.ReadBufferSize = 4 << 10
	}
	s := &Server{
		config:     config,
		blocks:     deps.Blocks,
		log:        deps.Log,
		apiLog:     deps.APILog,
		observer:   deps.Observer,
		pipeline:   deps.Pipeline,
		tracer:     deps.Tracer,
		origins:    newOrigins(config.AllowedOrigins),
		conns:      make(map[*conn]struct{}),
		headerTime: headerTimeout, parkTime: parkTime,
		closed: make(chan struct{}),
	}
	access := accessList{allowed: config.Allowed, denied: config.Denied}
	table := s.table()
	s.idle = access.idle(table)
	s.routes = newRouter(table, access, false)
	s.public = newRouter(table, access, true)
	s.http1 = s.newHTTP1()
	s.http2 = newHTTP2(s)
	return s
}

func (s *Server) newHTTP1() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:      s.serve,
		ErrorHandler: refuse,
		// The deadline itself is of no use: it is how the connection learns that the header is read.
		HeaderReceived:               func(*fasthttp.RequestHeader) fasthttp.RequestConfig { return fasthttp.RequestConfig{ReadTimeout: 1} },
		ConnState:                    changed,
		ReadBufferSize:               s.config.ReadBufferSize + headerSlack,
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		// Counting is in one place, see body.go.
		MaxRequestBodySize:    math.MaxInt,
		NoDefaultServerHeader: true,
		NoDefaultContentType:  true,
		CloseOnShutdown:       true,
		Logger:                quiet{s.log},
	}
}

// quiet keeps fasthttp's remarks about broken connections at the debug level.
type quiet struct{ log logrus.FieldLogger }

func (q quiet) Printf(format string, args ...any) { q.log.Debugf(format, args...) }

// Serve starts to answer on every address that Listen and its sisters have bound, and returns.
func (s *Server) Serve() {
	for _, rule := range s.idle {
		s.log.Warnf("API access list: the Configuration's spec.api names the HTTP API %q, which does not exist: it selects nothing (v1/state and v1.0/state are some that do)", rule.key())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.http2.start()
	s.parkers.Go(s.parkIdle)
	for _, l := range s.listeners {
		s.accepting.Add(1)
		go func() {
			defer s.accepting.Done()
			s.accept(l)
		}()
	}
}

// Quiesce stops accepting, closes idle connections, answers what is in flight with "Connection: close" (or
// GOAWAY), and waits until the last byte of the last answer is out, streamed bodies included. When ctx ends
// first its error says so; Close cuts the rest.
func (s *Server) Quiesce(ctx context.Context) error {
	s.draining.Store(true)
	s.stopAccepting()
	s.accepting.Wait()
	s.mu.Lock()
	for c := range s.conns {
		c.drain()
	}
	s.mu.Unlock()
	err := s.http2.quiesce(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serving.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		err = errors.Join(err, errors.New("http server: calls were still in flight when the time to drain was over"))
	}
	return err
}

// Close cuts every connection and waits for the goroutines that serve them.
func (s *Server) Close() error {
	s.draining.Store(true)
	s.closing.Do(func() { close(s.closed) })
	s.parkers.Wait()
	s.mu.Lock()
	var errs []error
	for _, l := range s.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	s.mu.Unlock()
	s.accepting.Wait()
	errs = append(errs, s.http2.close())
	s.cut()
	s.serving.Wait()
	return errors.Join(errs...)
}

// cut ends every connection at once.
func (s *Server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.cut()
	}
}
