// Package api names what a sidecar offers: the building blocks, as one plain struct that both transports
// serve. It holds no logic.
package api

import (
	"github.com/daprd/daprd/pkg/actors"
	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/configuration"
	"github.com/daprd/daprd/pkg/crypto"
	"github.com/daprd/daprd/pkg/lock"
	"github.com/daprd/daprd/pkg/messaging"
	"github.com/daprd/daprd/pkg/metadata"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/secrets"
	"github.com/daprd/daprd/pkg/state"
)

// Blocks are the building blocks. No field is nil; what a block needs and does not have yet it answers for
// itself with its "not ready" error.
type Blocks struct {
	State         *state.Service
	Secrets       *secrets.Service
	PubSub        *pubsub.Service
	Bindings      *bindings.Service
	Configuration *configuration.Service
	Lock          *lock.Service
	Crypto        *crypto.Service
	Messaging     *messaging.Direct
	Actors        *actors.Service
	Metadata      *metadata.Service
	Health        *metadata.Health
	// Shutdown asks the sidecar to end: gracefully, or at once with exit code 1 when forced. It returns
	// before the sidecar ends, so that the caller still gets its answer.
	Shutdown func(forced bool)
}
