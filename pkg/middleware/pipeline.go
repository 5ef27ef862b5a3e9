package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/daprd/daprd/pkg/ready"
)

// Pipeline is one pipeline of the Configuration. It may be set again, and its components may be replaced, while calls
// run through it: each call ends in the chain in which it began. A nil Pipeline has no handlers.
type Pipeline struct {
	service *Service
	name    string // as in the Configuration

	mu       sync.Mutex
	handlers []Handler
	chain    atomic.Pointer[Chain]
}

// Chain is what a pipeline was when a call entered it. Whoever took it calls Serve or Leave, once.
type Chain struct {
	uses ready.Uses
	head http.Handler
	log  func(format string, args ...any)
}

// spared are the types without which a pipeline only does less: a handler that is missing is passed over with a
// warning, as in Dapr 1.18. Every other type, a mistyped one too, may be what keeps the API closed.
var spared = []string{
	"middleware.http.uppercase", "middleware.http.routeralias", "middleware.http.ratelimit", "middleware.http.sentinel",
	"middleware.http.oauth2clientcredentials",
}

// mayMiss says that nothing is left open without the handler, whichever of the two names of its type is the right one:
// that in the pipeline, or that of the component.
func (p *Pipeline) mayMiss(h Handler) bool {
	c, ok := p.service.components.Look(h.Name)
	return slices.Contains(spared, strings.ToLower(h.Type)) && (!ok || slices.Contains(spared, strings.ToLower(c.settings.Type)))
}

// Set makes the pipeline consist of these handlers, the first one outermost. A handler whose component is missing is
// passed over with a warning where that opens nothing. Where the component may be what protects the API, the error says
// so and the pipeline stays as it was; but where the handler is Tolerated, the pipeline answers every call with 503
// until the component is there.
func (p *Pipeline) Set(handlers []Handler) error {
	p.mu.Lock()
	var errs []error
	for _, h := range handlers {
		if _, err := p.service.find(h); err != nil && !h.Tolerated && !p.mayMiss(h) {
			errs = append(errs, p.fault(h, err))
		}
	}
	if len(errs) > 0 {
		p.mu.Unlock()
		return errors.Join(errs...)
	}
	p.handlers = slices.Clone(handlers)
	old := p.build()
	p.mu.Unlock()
	p.service.retire(nil, old)
	return nil
}

// Len is the number of handlers that the pipeline names.
func (p *Pipeline) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.handlers)
}

// renew builds the pipeline anew if it names the component, and gives the chain that was in use until now.
func (p *Pipeline) renew(name string) (old *Chain) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.ContainsFunc(p.handlers, func(h Handler) bool { return h.Name == name }) {
		return nil
	}
	return p.build()
}

// build puts a new chain in place of the old one, which it gives.
func (p *Pipeline) build() (old *Chain) {
	var next http.Handler = http.HandlerFunc(last)
	for _, h := range slices.Backward(p.handlers) {
		switch instance, err := p.service.find(h); {
		case err == nil:
			next = instance.Wrap(next)
		case p.mayMiss(h):
			p.service.log.Warnf("spec.%s: the middleware %s (%s) is passed over: %s", p.name, h.Name, h.Type, err)
		default:
			p.service.log.Errorf("%s; calls are answered with 503 until it is there", p.fault(h, err))
			next = closed(h)
		}
	}
	if len(p.handlers) == 0 {
		return p.chain.Swap(nil)
	}
	return p.chain.Swap(&Chain{head: next, log: p.service.log.Errorf})
}

func (p *Pipeline) fault(h Handler, err error) error {
	return fmt.Errorf("spec.%s names the middleware %s (%s), without which calls would pass unchecked: %w", p.name, h.Name, h.Type, err)
}

// closed stands in for a middleware that is missing.
func closed(h Handler) http.Handler {
	text := fmt.Sprintf("the middleware %s (%s) is not available, and calls do not pass without it; the sidecar's log says why", h.Name, h.Type)
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, text, http.StatusServiceUnavailable) })
}

// Take enters the pipeline; nil means that it has no handlers.
func (p *Pipeline) Take() *Chain {
	if p == nil {
		return nil
	}
	for {
		chain := p.chain.Load()
		if chain == nil || chain.uses.Enter() {
			return chain
		}
		// It was replaced since.
	}
}
