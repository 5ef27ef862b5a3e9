package sentry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"gopkg.in/yaml.v3"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/daprd/daprd/pkg/config"
)

const (
	// apiTimeout bounds a question to the API server.
	apiTimeout = 10 * time.Second
	// maxAnswer bounds its answer: an object has 1.5 MiB at most.
	maxAnswer = 4 << 20
)

// cluster is the API server, as far as the authority needs it.
type cluster struct {
	client *http.Client
	server *url.URL
}

// newCluster finds the API server: that of the pod's cluster, else that of the file (~/.kube/config for "").
func newCluster(kubeconfig string) (*cluster, error) {
	settings, err := rest.InClusterConfig()
	if errors.Is(err, rest.ErrNotInCluster) {
		if kubeconfig == "" {
			home, _ := os.UserHomeDir()
			kubeconfig = filepath.Join(home, ".kube", "config")
		}
		settings, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w; --kubeconfig names a file that tells of it", err)
	}
	settings.UserAgent, settings.Timeout = "dapr-sentry", apiTimeout
	server, _, err := rest.DefaultServerUrlFor(settings)
	if err != nil {
		return nil, fmt.Errorf("address of the API server: %w", err)
	}
	client, err := rest.HTTPClientFor(settings)
	if err != nil {
		return nil, fmt.Errorf("client of the API server: %w", err)
	}
	return &cluster{client, server}, nil
}

// answerError is an answer of the API server that grants nothing.
type answerError struct {
	code    int
	message string
}

func (e *answerError) Error() string {
	return fmt.Sprintf("the API server answers %d: %s", e.code, e.message)
}

// denied says whether the API server has decided, so that asking again changes nothing.
func denied(err error) bool {
	answer := new(answerError)
	return errors.As(err, &answer) && answer.code < http.StatusInternalServerError && answer.code != http.StatusTooManyRequests
}

func (c *cluster) get(ctx context.Context, into any, path ...string) error {
	return c.do(ctx, http.MethodGet, nil, into, path...)
}

// do sends body, unless it is nil, as JSON, and decodes the answer.
func (c *cluster) do(ctx context.Context, method string, body, into any, path ...string) error {
	text, err := c.exchange(ctx, method, body, path...)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // an object that is sent back must be what came
	return decoder.Decode(into)
}

func (c *cluster) exchange(ctx context.Context, method string, body any, path ...string) ([]byte, error) {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(text)
	}
	for i, segment := range path {
		path[i] = url.PathEscape(segment)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.server.JoinPath(path...).String(), sent)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if response.StatusCode/100 != 2 {
		var status struct {
			Message string `json:"message"`
		}
		if json.Unmarshal(text, &status) != nil || status.Message == "" {
			status.Message = http.StatusText(response.StatusCode)
		}
		return nil, &answerError{response.StatusCode, status.Message}
	}
	return text, nil
}

// configuration reads a resource of kind Configuration.
func (c *cluster) configuration(ctx context.Context, namespace, name string) (*config.Configuration, error) {
	text, err := c.exchange(ctx, http.MethodGet, nil, "apis", "dapr.io", "v1alpha1", "namespaces", namespace, "configurations", name)
	if err != nil {
		return nil, err
	}
	found := new(config.Configuration)
	return found, yaml.Unmarshal(text, found) // JSON is YAML
}

func (c *cluster) close() error {
	c.client.CloseIdleConnections()
	return nil
}
