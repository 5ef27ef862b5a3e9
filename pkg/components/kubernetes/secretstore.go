// Package kubernetes holds the components that are parts of a cluster: the store of its Secrets.
package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"github.com/daprd/daprd/pkg/cluster"
	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/secrets"
)

// nameForm is that of names in a cluster: one of another form would lead to other places of the API.
var nameForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

type settings struct {
	// DefaultNamespace is where Secrets are looked for by a sidecar that has no namespace of its own.
	DefaultNamespace string `metadata:"defaultNamespace"`
	// KubeconfigPath is a file that tells of the API server, for a sidecar outside of a pod.
	KubeconfigPath string `metadata:"kubeconfigPath"`
}

type store struct {
	*cluster.Client
	namespace string
}

// NewSecretStore makes secretstores.kubernetes. It does not dial.
func NewSecretStore(_ context.Context, spec *components.Spec) (secrets.Store, error) {
	var s settings
	if err := components.Decode(spec, &s); err != nil {
		return nil, err
	}
	client, err := cluster.New(s.KubeconfigPath, "daprd")
	if err != nil {
		return nil, err
	}
	namespace := spec.Namespace
	if namespace == "" {
		namespace = s.DefaultNamespace
	}
	return &store{client, namespace}, nil
}

// Features are those of a store whose secrets have several values.
func (s *store) Features() []string { return []string{"MULTIPLE_KEY_VALUES_PER_SECRET"} }

// secret is a Secret as far as a store needs it.
type secret struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Data map[string][]byte `json:"data"`
}

func (s *secret) values() map[string]string {
	values := make(map[string]string, len(s.Data))
	for key, value := range s.Data {
		values[key] = string(value)
	}
	return values
}

// Secret gives all keys of a Secret; the namespace is that of the metadata, else the sidecar's.
func (s *store) Secret(ctx context.Context, name string, metadata map[string]string) (map[string]string, error) {
	var found secret
	if err := s.get(ctx, &found, metadata, name); err != nil {
		return nil, err
	}
	return found.values(), nil
}

// All gives the Secrets of the namespace.
func (s *store) All(ctx context.Context, metadata map[string]string) (map[string]map[string]string, error) {
	var found struct {
		Items []secret `json:"items"`
	}
	if err := s.get(ctx, &found, metadata); err != nil {
		return nil, err
	}
	all := make(map[string]map[string]string, len(found.Items))
	for i := range found.Items {
		all[found.Items[i].Metadata.Name] = found.Items[i].values()
	}
	return all, nil
}

// get asks for the Secrets of a namespace, or for one of them.
func (s *store) get(ctx context.Context, into any, metadata map[string]string, name ...string) error {
	namespace := metadata["namespace"]
	if namespace == "" {
		namespace = s.namespace
	}
	if namespace == "" {
		return errors.New("the namespace of the secret is not known: the metadata namespace of the request names it, the environment's NAMESPACE, or defaultNamespace of the component")
	}
	for _, n := range append(name, namespace) {
		if !nameForm.MatchString(n) {
			return fmt.Errorf("%q is no name of a Secret or namespace", n)
		}
	}
	err := s.Get(ctx, into, append([]string{"api", "v1", "namespaces", namespace, "secrets"}, name...)...)
	if cluster.Is(err, http.StatusForbidden) {
		return fmt.Errorf("%w; the service account of the pod needs a Role of namespace %s that allows get (and list, for all of them at once) of secrets, and a RoleBinding",
			err, namespace)
	}
	return err
}
