// Package wasm is the middleware that runs a guest in WebAssembly on each request, by the http-wasm handler ABI.
package wasm

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"

	"github.com/http-wasm/http-wasm-host-go/handler"
	wasmhttp "github.com/http-wasm/http-wasm-host-go/handler/nethttp"
	"github.com/tetratelabs/wazero"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/middleware"
)

// memoryPages is the most memory of one instance of a guest, in pages of 64 KiB: 64 MiB. Each request that is in the
// guest at one time has an instance of its own.
const memoryPages = 1024

type settings struct {
	// URL is where the guest is: file://, http:// or https://.
	URL string `metadata:"url,required"`
	// GuestConfig is handed to the guest as it is.
	GuestConfig string `metadata:"guestConfig"`
}

type guest struct {
	module wasmhttp.Middleware
	log    *logger
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
	module, err := wasmhttp.NewMiddleware(ctx, code, handler.GuestConfig([]byte(s.GuestConfig)), handler.Logger(log),
		handler.ModuleConfig(sandbox(spec.StrictSandbox, log)), handler.Runtime(runtime))
	if err != nil {
		return nil, fmt.Errorf("the guest of metadata property url cannot be started: %w", err)
	}
	return &guest{module: module, log: log}, nil
}

func runtime(ctx context.Context) (wazero.Runtime, error) {
	return wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithMemoryLimitPages(memoryPages)), nil
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
func (g *guest) Close() error { return g.module.Close(context.Background()) }

// Wrap runs the guest before and after next.
func (g *guest) Wrap(next http.Handler) http.Handler {
	inner := g.module.NewHandler(context.Background(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Context().Value(passageKey{}).(*passage).pass(next, w, r)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &passage{context: r.Context(), body: &replay{from: r.Body}}
		// An instance that a context ended cannot be used again, and one that it kept from starting closes the whole
		// guest; so the guest does not see that the client has gone. What is behind it does.
		r = r.WithContext(context.WithValue(context.WithoutCancel(r.Context()), passageKey{}, p))
		r.Body = p.body
		inner.ServeHTTP(&shy{ResponseWriter: w, log: g.log, passage: p}, r)
		if p.broken {
			panic(http.ErrAbortHandler)
		}
	})
}
