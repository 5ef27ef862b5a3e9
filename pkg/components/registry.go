package components

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/configuration"
	"github.com/daprd/daprd/pkg/crypto"
	"github.com/daprd/daprd/pkg/lock"
	"github.com/daprd/daprd/pkg/middleware"
	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/secrets"
	"github.com/daprd/daprd/pkg/state"
)

// Registry knows the component types of one category.
type Registry[T any] struct {
	category  string // "state", the part of a type before the first dot
	noun      string // "state store", for texts
	factories map[string]Factory[T]
}

func newRegistry[T any](category, noun string) *Registry[T] {
	return &Registry[T]{category: category, noun: noun, factories: map[string]Factory[T]{}}
}

// Register adds a type under its names without the category, in lower case; a version beyond v1 is part of
// a name: "postgresql/v2".
func (r *Registry[T]) Register(factory Factory[T], names ...string) {
	for _, name := range names {
		r.factories[name] = factory
	}
}

// Factory finds the maker of a type. The category is written in lower case, the name in any. The versions
// "", v0 and v1 mean the same.
func (r *Registry[T]) Factory(kind, version string) (Factory[T], error) {
	name := strings.ToLower(strings.TrimPrefix(kind, r.category+"."))
	versioned := name
	switch v := strings.ToLower(version); v {
	case "", "v0", "v1":
	default:
		versioned += "/" + v
	}
	if factory, ok := r.factories[versioned]; ok {
		return factory, nil
	}
	return nil, fmt.Errorf("couldn't find %s %s/%s: %s", r.noun, kind, version, r.hint(name))
}

// hint says what could be written in place of a name that is not known with its version.
func (r *Registry[T]) hint(name string) string {
	types := r.Types()
	if len(types) == 0 {
		return "this daprd has no " + r.noun
	}
	if _, ok := r.factories[name]; ok {
		return fmt.Sprintf("%s exists in version v1", r.full(name))
	}
	similar := ""
	if near := config.Nearest(r.full(name), types); near != "" {
		similar = fmt.Sprintf("; did you mean %s?", near)
	}
	return "this daprd has " + strings.Join(types, ", ") + similar
}

// full is the name with its category.
func (r *Registry[T]) full(name string) string {
	if r.category == "" {
		return name
	}
	return r.category + "." + name
}

// Types are the names that can be written in a manifest, sorted.
func (r *Registry[T]) Types() []string {
	all := make([]string, 0, len(r.factories))
	for name := range r.factories {
		all = append(all, r.full(name))
	}
	slices.Sort(all)
	return all
}

// Set is all that a build can make of manifests: the catalogue fills it.
type Set struct {
	State       *Registry[state.Store]
	SecretStore *Registry[secrets.Store]
	PubSub      *Registry[pubsub.Broker]
	// InputBinding and OutputBinding are the two sides of bindings: a type may be in one of them or in both.
	InputBinding  *Registry[bindings.Input]
	OutputBinding *Registry[bindings.Output]
	Configuration *Registry[configuration.Store]
	Lock          *Registry[lock.Store]
	Crypto        *Registry[crypto.Provider]
	Middleware    *Registry[middleware.Middleware]
	// Resolver makes name resolvers; they are named in the Configuration, not by components.
	Resolver *Registry[nameresolution.Resolver]
	// Discover adds the types of component processes that serve on sockets of the folder, "" for the usual one. It is
	// called once, before components are loaded; nil where a build has no such thing.
	Discover func(ctx context.Context, folder string, log logrus.FieldLogger)
}

// NewSet makes a set with empty registries.
func NewSet() Set {
	return Set{
		State:         newRegistry[state.Store]("state", "state store"),
		SecretStore:   newRegistry[secrets.Store]("secretstores", "secret store"),
		PubSub:        newRegistry[pubsub.Broker]("pubsub", "message bus"),
		InputBinding:  newRegistry[bindings.Input]("bindings", "input binding"),
		OutputBinding: newRegistry[bindings.Output]("bindings", "output binding"),
		Configuration: newRegistry[configuration.Store]("configuration", "configuration store"),
		Lock:          newRegistry[lock.Store]("lock", "lock store"),
		Crypto:        newRegistry[crypto.Provider]("crypto", "crypto provider"),
		Middleware:    newRegistry[middleware.Middleware]("middleware.http", "HTTP middleware"),
		Resolver:      newRegistry[nameresolution.Resolver]("", "name resolver"),
	}
}
