// Package kubernetes holds the components that are parts of a cluster: the store of its Secrets.
package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/secrets"
)

const (
	// apiTimeout bounds a question to the API server.
	apiTimeout = 10 * time.Second
	// maxAnswer bounds its answer, in bytes: a Secret has 1 MiB at most, a namespace may have many.
	maxAnswer = 64 << 20
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
	client    *http.Client
	server    *url.URL
	namespace string
}

// NewSecretStore makes secretstores.kubernetes. It does not dial.
func NewSecretStore(_ context.Context, spec *components.Spec) (secrets.Store, error) {
	var s settings
	if err := components.Decode(spec, &s); err != nil {
		return nil, err
	}
	api, err := rest.InClusterConfig()
	if errors.Is(err, rest.ErrNotInCluster) && s.KubeconfigPath != "" {
		api, err = clientcmd.BuildConfigFromFlags("", s.KubeconfigPath)
	}
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w; kubeconfigPath, or --kubeconfig, names a file that tells of it", err)
	}
	api.UserAgent, api.Timeout = "daprd", apiTimeout
	server, _, err := rest.DefaultServerUrlFor(api)
	if err != nil {
		return nil, fmt.Errorf("address of the API server: %w", err)
	}
	client, err := rest.HTTPClientFor(api)
	if err != nil {
		return nil, fmt.Errorf("client of the API server: %w", err)
	}
	namespace := spec.Namespace
	if namespace == "" {
		namespace = s.DefaultNamespace
	}
	return &store{client, server, namespace}, nil
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
	path := append([]string{"api", "v1", "namespaces", namespace, "secrets"}, name...)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.JoinPath(path...).String(), nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	answer, err := s.client.Do(request)
	if err != nil {
		return fmt.Errorf("ask the API server: %w", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("ask the API server: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		var failure struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(body, &failure)
		return fmt.Errorf("the API server answers %d for the secrets of namespace %s: %s", answer.StatusCode, namespace, failure.Message)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return errors.New("the API server answers with something that is no Secret")
	}
	return nil
}

// Close ends idle connections.
func (s *store) Close() error {
	s.client.CloseIdleConnections()
	return nil
}
