package catalogue

import (
	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/components/middleware/bearer"
	"github.com/daprd/daprd/pkg/components/middleware/oauth2"
	"github.com/daprd/daprd/pkg/components/middleware/opa"
	"github.com/daprd/daprd/pkg/components/middleware/ratelimit"
	"github.com/daprd/daprd/pkg/components/middleware/routing"
	"github.com/daprd/daprd/pkg/components/middleware/sentinel"
	"github.com/daprd/daprd/pkg/components/middleware/uppercase"
	"github.com/daprd/daprd/pkg/components/middleware/wasm"
)

func registerMiddleware(set components.Set) {
	set.Middleware.Register(bearer.New, "bearer")
	set.Middleware.Register(oauth2.New, "oauth2")
	set.Middleware.Register(oauth2.NewClientCredentials, "oauth2clientcredentials")
	set.Middleware.Register(opa.New, "opa")
	set.Middleware.Register(ratelimit.New, "ratelimit")
	set.Middleware.Register(routing.NewAlias, "routeralias")
	set.Middleware.Register(routing.NewChecker, "routerchecker")
	set.Middleware.Register(sentinel.New, "sentinel")
	set.Middleware.Register(uppercase.New, "uppercase")
	set.Middleware.Register(wasm.New, "wasm")
}
