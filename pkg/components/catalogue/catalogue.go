// Package catalogue is the whole list of what this build can make of manifests: a line for each component
// type.
package catalogue

import (
	"context"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/components/cron"
	"github.com/daprd/daprd/pkg/components/httpbinding"
	"github.com/daprd/daprd/pkg/components/keyring"
	kubernetescomponents "github.com/daprd/daprd/pkg/components/kubernetes"
	"github.com/daprd/daprd/pkg/components/localenv"
	"github.com/daprd/daprd/pkg/components/localfile"
	"github.com/daprd/daprd/pkg/components/localstorage"
	"github.com/daprd/daprd/pkg/components/memory"
	"github.com/daprd/daprd/pkg/components/pluggable"
	"github.com/daprd/daprd/pkg/components/redis"
	"github.com/daprd/daprd/pkg/components/sqlite"
	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/nameresolution/consul"
	"github.com/daprd/daprd/pkg/nameresolution/kubernetes"
	"github.com/daprd/daprd/pkg/nameresolution/mdns"
	"github.com/daprd/daprd/pkg/nameresolution/nameformat"
)

// All is the set with every type in it.
func All() components.Set {
	set := components.NewSet()
	set.State.Register(memory.NewState, "in-memory")
	set.State.Register(redis.NewState, "redis")
	set.PubSub.Register(redis.NewPubSub, "redis")
	set.OutputBinding.Register(redis.NewOutputBinding, "redis")
	set.Configuration.Register(redis.NewConfiguration, "redis")
	set.Lock.Register(redis.NewLock, "redis")
	set.State.Register(sqlite.NewState, "sqlite", "sqlite3")
	set.PubSub.Register(memory.NewPubSub, "in-memory")
	set.SecretStore.Register(localenv.NewSecretStore, "local.env")
	set.SecretStore.Register(localfile.NewSecretStore, "local.file")
	set.SecretStore.Register(kubernetescomponents.NewSecretStore, "kubernetes")

	set.InputBinding.Register(cron.NewInput, "cron")
	set.OutputBinding.Register(httpbinding.NewOutput, "http")
	set.OutputBinding.Register(localstorage.NewOutput, "localstorage")

	set.Crypto.Register(keyring.NewLocalStorage, "dapr.localstorage")
	set.Crypto.Register(keyring.NewJWKS, "dapr.jwks")

	registerMiddleware(set)
	set.Resolver.Register(newMDNS, "mdns")
	set.Resolver.Register(sqlite.NewResolver, "sqlite")
	set.Resolver.Register(newKubernetes, "kubernetes")
	set.Resolver.Register(newNameFormat, "nameformat")
	set.Resolver.Register(newConsul, "consul", "hashicorp.consul")

	set.Discover = func(ctx context.Context, folder string, log logrus.FieldLogger) {
		pluggable.Discover(ctx, folder, set, log)
	}
	return set
}

func newMDNS(_ context.Context, spec *components.Spec) (nameresolution.Resolver, error) {
	return mdns.New(spec.Log), nil
}

func newKubernetes(_ context.Context, spec *components.Spec) (nameresolution.Resolver, error) {
	var s struct {
		ClusterDomain string `metadata:"clusterDomain"`
		Template      string `metadata:"template"`
	}
	if err := components.Decode(spec, &s); err != nil {
		return nil, err
	}
	return kubernetes.New(kubernetes.Settings{ClusterDomain: s.ClusterDomain, Template: s.Template})
}

func newNameFormat(_ context.Context, spec *components.Spec) (nameresolution.Resolver, error) {
	var s struct {
		Format string `metadata:"format"`
	}
	if err := components.Decode(spec, &s); err != nil {
		return nil, err
	}
	return nameformat.New(s.Format)
}

func newConsul(_ context.Context, spec *components.Spec) (nameresolution.Resolver, error) {
	var s consul.Settings
	if err := components.Decode(spec, &s); err != nil {
		return nil, err
	}
	return consul.New(s)
}
