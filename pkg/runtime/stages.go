package runtime

import (
	"context"
	"errors"

	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/version"
)

// table is the start-up, in the order of Dapr's start-up trace.
var table = []stage{
	{"user", (*Runtime).refuseRoot},
	{"metrics", (*Runtime).exportMetrics},
	{"configuration", (*Runtime).loadConfiguration},
	{"resiliency", (*Runtime).loadResiliency},
	{"security", (*Runtime).establishSecurity},
	{"name resolution", (*Runtime).openResolver},
	{"components", (*Runtime).loadComponents},
	{"grpc api", (*Runtime).serveGRPC},
	{"http api", (*Runtime).serveHTTP},
	{"internal grpc", (*Runtime).serveInternal},
	{"app port", (*Runtime).awaitApp},
	{"app channel", (*Runtime).openChannel},
	{"app health", (*Runtime).watchApp},
	{"direct messaging", (*Runtime).openMessaging},
	{"actors", (*Runtime).startActors},
	{"pubsub", (*Runtime).subscribe},
	{"bindings", (*Runtime).readBindings},
	{"hot reload", (*Runtime).watchResources},
}

// Announce writes the first lines of the log: they come before anything can fail.
func Announce(logs *logging.Logs, level string) {
	log := logs.Scope("dapr.runtime")
	log.Infof("starting Dapr Runtime -- version %s -- commit %s", version.Version(), version.Commit())
	log.Infof("log level set to: %s", level)
}

// openMessaging has nothing left to open: calls to other sidecars work since the internal server, those to
// the application since its channel. At the end it waits for what is in flight.
func (r *Runtime) openMessaging(context.Context) (ending, error) {
	return ending{close: func(context.Context) error { return errors.Join(r.peers.Close(), r.messaging.Close()) }}, nil
}

// subscribe begins to deliver messages to the application. Streaming subscriptions may be open since the API is; the
// stage of the components ends both.
func (r *Runtime) subscribe(ctx context.Context) (ending, error) {
	return ending{}, r.intake.add(ctx, r.pubsub.Start, r.pubsub.Stop)
}
