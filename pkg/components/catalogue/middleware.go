package catalogue

import (
	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/components/middleware/ratelimit"
	"github.com/daprd/daprd/pkg/components/middleware/routing"
	"github.com/daprd/daprd/pkg/components/middleware/uppercase"
)

func registerMiddleware(set components.Set) {
	set.Middleware.Register(ratelimit.New, "ratelimit")
	set.Middleware.Register(routing.NewAlias, "routeralias")
	set.Middleware.Register(routing.NewChecker, "routerchecker")
	set.Middleware.Register(uppercase.New, "uppercase")
}
