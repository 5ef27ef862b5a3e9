package wasm

import (
	"context"
	"errors"

	"github.com/http-wasm/http-wasm-host-go/handler"
	wasmhttp "github.com/http-wasm/http-wasm-host-go/handler/nethttp"
	"github.com/tetratelabs/wazero"
)

// kept is how many instances that are not in use are kept for the next requests.
const kept = 32

// instances are those of one guest. A request has one for itself: the host library's own pool writes into what its
// instances share, and is closed as a whole when one cannot be started. The code is compiled once.
type instances struct {
	code    []byte
	options []handler.Option
	cache   wazero.CompilationCache
	free    chan wasmhttp.Middleware
}

func newInstances(code []byte, options ...handler.Option) *instances {
	i := &instances{code: code, cache: wazero.NewCompilationCache(), free: make(chan wasmhttp.Middleware, kept)}
	i.options = append(options, handler.Runtime(i.runtime))
	return i
}

// runtime is the world of one instance. The end of a request's context ends a guest that goes on.
func (i *instances) runtime(ctx context.Context) (wazero.Runtime, error) {
	return wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCompilationCache(i.cache).
		WithMemoryLimitPages(memoryPages).WithCloseOnContextDone(true)), nil
}

// start makes an instance.
func (i *instances) start(ctx context.Context) (wasmhttp.Middleware, error) {
	return wasmhttp.NewMiddleware(ctx, i.code, i.options...)
}

// take gives an instance that is free, or a new one.
func (i *instances) take(ctx context.Context) (wasmhttp.Middleware, error) {
	select {
	case instance := <-i.free:
		return instance, nil
	default:
		return i.start(ctx)
	}
}

// giveBack keeps an instance for later, or ends it where there are enough.
func (i *instances) giveBack(instance wasmhttp.Middleware) {
	select {
	case i.free <- instance:
	default:
		_ = instance.Close(context.Background())
	}
}

// close ends those that are free, when no other is in use.
func (i *instances) close() error {
	var errs []error
	for {
		select {
		case instance := <-i.free:
			errs = append(errs, instance.Close(context.Background()))
		default:
			return errors.Join(append(errs, i.cache.Close(context.Background()))...)
		}
	}
}
