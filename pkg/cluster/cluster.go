// Package cluster asks the API server of Kubernetes: objects as JSON, a few questions at a time, over client-go's
// transport alone: its rest layer would make every sidecar 3 MB larger, its whole clientset more. It must not know what the objects are for.
package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"gopkg.in/yaml.v3"
	"k8s.io/client-go/transport"

	"github.com/daprd/daprd/pkg/config"
)

const (
	// apiTimeout bounds a question to the API server.
	apiTimeout = 10 * time.Second
	// maxAnswer bounds its answer, in bytes: an object has 1.5 MiB at most, a namespace may have many.
	maxAnswer = 64 << 20
)

// Client asks one API server.
type Client struct {
	client *http.Client
	server *url.URL
}

// New finds the API server: that of the pod's cluster, else that of the file (~/.kube/config for ""). It does not dial.
// The agent is how the API server's logs name the process.
func New(kubeconfig, agent string) (*Client, error) {
	found, err := find(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w", err)
	}
	address, err := url.Parse(found.address)
	if err != nil {
		return nil, fmt.Errorf("address of the API server: %w", err)
	}
	found.way.UserAgent = agent
	way, err := transport.New(&found.way)
	if err != nil {
		return nil, fmt.Errorf("client of the API server %s: %w", address.Host, err)
	}
	return &Client{&http.Client{Transport: way, Timeout: apiTimeout}, address}, nil
}

// AnswerError is an answer of the API server that grants nothing.
type AnswerError struct {
	// Code is the HTTP status.
	Code    int
	Message string
}

func (e *AnswerError) Error() string {
	return fmt.Sprintf("the API server answers %d: %s", e.Code, e.Message)
}

// Is says whether err is an answer with that HTTP status.
func Is(err error, code int) bool {
	answer := new(AnswerError)
	return errors.As(err, &answer) && answer.Code == code
}

// Denied says whether the API server has decided, so that asking again changes nothing.
func Denied(err error) bool {
	answer := new(AnswerError)
	return errors.As(err, &answer) && answer.Code < http.StatusInternalServerError && answer.Code != http.StatusTooManyRequests
}

// Get reads an object.
func (c *Client) Get(ctx context.Context, into any, path ...string) error {
	return c.Do(ctx, http.MethodGet, nil, into, path...)
}

// Do sends body, unless it is nil, as JSON, and decodes the answer; its numbers come as json.Number, so that an object that
// is sent back is what came. An error of the API server is an *AnswerError. A PATCH is a JSON patch.
func (c *Client) Do(ctx context.Context, method string, body, into any, path ...string) error {
	text, err := c.exchange(ctx, method, body, path...)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode(into)
}

func (c *Client) exchange(ctx context.Context, method string, body any, path ...string) ([]byte, error) {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(text)
	}
	escaped := make([]string, len(path))
	for i, segment := range path {
		if segment == "" || segment == "." || segment == ".." {
			return nil, fmt.Errorf("%q is no name of an object", segment) // it would lead to another place of the API
		}
		escaped[i] = url.PathEscape(segment)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.server.JoinPath(escaped...).String(), sent)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	switch {
	case method == http.MethodPatch:
		request.Header.Set("Content-Type", "application/json-patch+json")
	case body != nil:
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
		return nil, &AnswerError{response.StatusCode, status.Message}
	}
	return text, nil
}

// Configuration reads a resource of kind Configuration.
func (c *Client) Configuration(ctx context.Context, namespace, name string) (*config.Configuration, error) {
	text, err := c.exchange(ctx, http.MethodGet, nil, "apis", "dapr.io", "v1alpha1", "namespaces", namespace, "configurations", name)
	if err != nil {
		return nil, err
	}
	found := new(config.Configuration)
	return found, yaml.Unmarshal(text, found) // JSON is YAML
}

// Close ends idle connections.
func (c *Client) Close() error {
	c.client.CloseIdleConnections()
	return nil
}
