package pluggable

import (
	"context"

	"github.com/daprd/daprd/pkg/components"
	componentsv1 "github.com/daprd/daprd/pkg/proto/components/v1"
	"github.com/daprd/daprd/pkg/secrets"
)

// secretStore is a secret store of a process.
type secretStore struct {
	*process
	client   componentsv1.SecretStoreClient
	features []string
}

func newSecretStore(path string) components.Factory[secrets.Store] {
	return func(ctx context.Context, spec *components.Spec) (secrets.Store, error) {
		s := &secretStore{}
		var err error
		s.process, err = start(ctx, path, spec, func(ctx context.Context, p *process, properties *componentsv1.MetadataRequest) error {
			s.client = componentsv1.NewSecretStoreClient(p)
			if _, err := s.client.Init(ctx, &componentsv1.SecretStoreInitRequest{Metadata: properties}); err != nil {
				return err
			}
			answer, err := s.client.Features(ctx, &componentsv1.FeaturesRequest{})
			s.features = answer.GetFeatures()
			return err
		})
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

// Features are those that the process names.
func (s *secretStore) Features() []string { return s.features }

// Ping asks the process whether it is there.
func (s *secretStore) Ping(ctx context.Context) error {
	_, err := s.client.Ping(ctx, &componentsv1.PingRequest{})
	return served(err)
}

// Secret reads one secret.
func (s *secretStore) Secret(ctx context.Context, name string, metadata map[string]string) (map[string]string, error) {
	answer, err := s.client.Get(ctx, &componentsv1.GetSecretRequest{Key: name, Metadata: metadata})
	if err != nil {
		return nil, err
	}
	return answer.GetData(), nil
}

// All reads every secret.
func (s *secretStore) All(ctx context.Context, metadata map[string]string) (map[string]map[string]string, error) {
	answer, err := s.client.BulkGet(ctx, &componentsv1.BulkGetSecretRequest{Metadata: metadata})
	if err != nil {
		return nil, err
	}
	all := make(map[string]map[string]string, len(answer.GetData()))
	for name, secret := range answer.GetData() {
		all[name] = secret.GetSecrets()
	}
	return all, nil
}
