// Package wasm is the middleware that runs a guest in WebAssembly on each request, by the http-wasm handler ABI.
package wasm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"

	"github.com/http-wasm/http-wasm-host-go/handler"
	wasmhttp "github.com/http-wasm/http-wasm-host-go/handler/nethttp"
	"github.com/tetratelabs/wazero"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/middleware"
)

// memoryPages is the most memory of one instance of a guest, in pages of 64 KiB: 64 MiB.
const memoryPages = 1024

type settings struct {
	// URL is where the guest is: file://, http:// or https://.
	URL string `metadata:"url,required"`
	// GuestConfig is handed to the guest as it is.
	GuestConfig string `metadata:"guestConfig"`
}

type guest struct {
	instances *instances
	log       *logger
}

// New makes middleware.http.wasm: it fetches the guest, compiles it and starts one instance.
func New(ctx context.Context, spec *components.Spec) (middleware.Middleware, error) {
	var s settings
	if err := components.Decode(spec, &s); err != nil {
		return nil, err
	}
	code, err := fetch(ctx, s.URL)
	if err != nil {
		return nil, fmt.Errorf("metadata property url: %w", err)
	}
	log := &logger{spec.Log}
	all := newInstances(code, handler.GuestConfig([]byte(s.GuestConfig)), handler.Logger(log), handler.ModuleConfig(sandbox(spec.StrictSandbox, log)))
	first, err := all.start(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the guest of metadata property url cannot be started: %w", err), all.close())
	}
	all.giveBack(first)
	return &guest{instances: all, log: log}, nil
}

// sandbox is what a guest gets of the world: no files, no network, no environment. What it prints is in the log. Unless
// it is strict, clocks and random numbers are real; in a strict one every run is like the other.
func sandbox(strict bool, log *logger) wazero.ModuleConfig {
	config := wazero.NewModuleConfig().WithStdout(log).WithStderr(log)
	if strict {
		return config
	}
	return config.WithSysNanotime().WithSysWalltime().WithSysNanosleep().WithRandSource(rand.Reader)
}

// Close ends the guest.
func (g *guest) Close() error { return g.instances.close() }

// Wrap runs the guest before and after next. A guest that has failed, or whose client has gone, is not used again.
func (g *guest) Wrap(next http.Handler) http.Handler {
	last := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Context().Value(passageKey{}).(*passage).pass(next, w, r)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		module, err := g.instances.take(r.Context())
		if err != nil {
			g.log.Errorf("the guest cannot be started: %s", err)
			http.Error(w, failed, http.StatusInternalServerError)
			return
		}
		p := &passage{context: r.Context(), body: &replay{from: r.Body}}
		defer func() { g.ended(p, module, recover()) }()
		r = r.WithContext(context.WithValue(r.Context(), passageKey{}, p))
		r.Body = p.body
		module.NewHandler(r.Context(), last).ServeHTTP(&shy{ResponseWriter: w, log: g.log, passage: p}, r)
	})
}

// ended is after each request, however it ended.
func (g *guest) ended(p *passage, module wasmhttp.Middleware, cause any) {
	if cause == nil && !p.broken && !p.failed && p.context.Err() == nil {
		g.instances.giveBack(module)
		return
	}
	_ = module.Close(context.Background())
	if cause != nil && !p.broken && p.context.Err() == nil {
		g.log.Errorf("the guest failed at an answer: %v", cause)
	}
	if cause != nil || p.broken {
		panic(http.ErrAbortHandler)
	}
}
