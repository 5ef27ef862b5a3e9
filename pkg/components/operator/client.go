// Package operator asks a cluster's operator for the resources of a sidecar, and hears from it when they change. It
// must not know what is done with them.
package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/config"
	operatorv1 "github.com/daprd/daprd/pkg/proto/operator/v1"
)

const (
	// SecretStore is the name of the store whose secrets the operator puts into what it gives.
	SecretStore = "kubernetes"
	// callTimeout bounds a question, as in Dapr.
	callTimeout = 5 * time.Second
	// maxList bounds an answer, in bytes.
	maxList = 64 << 20
	// pingAfter and pingTimeout find out that an operator is gone without a word. Servers of gRPC refuse pings that come
	// more often than every five minutes.
	pingAfter   = 6 * time.Minute
	pingTimeout = 20 * time.Second
	// reconnectAfter is the longest pause before a connection is tried again: what waits for the operator does not wait
	// for long after it is back.
	reconnectAfter = 5 * time.Second
)

// Settings say which operator is asked, and for whom.
type Settings struct {
	// Address is host:port.
	Address string
	// Namespace and Pod are the sidecar's.
	Namespace, Pod string
	// Credentials show who the sidecar is and check who the operator is.
	Credentials credentials.TransportCredentials
	Log         logrus.FieldLogger
}

// Client asks one operator. Its methods may be called by many goroutines.
type Client struct {
	settings Settings
	conn     *grpc.ClientConn
	api      operatorv1.OperatorClient
	watch    watch
}

// New makes a client; it connects with the first question.
func New(settings Settings) (*Client, error) {
	if settings.Address == "" {
		return nil, errors.New("error creating operator client: its address is missing; --control-plane-address names it")
	}
	conn, err := grpc.NewClient("passthrough:///"+settings.Address, grpc.WithTransportCredentials(settings.Credentials),
		grpc.WithDisableServiceConfig(), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxList)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: callTimeout,
			Backoff: backoff.Config{BaseDelay: firstPause, Multiplier: pauseGrowth, Jitter: 0.2, MaxDelay: reconnectAfter}}))
	if err != nil {
		return nil, fmt.Errorf("error creating operator client: %w", err)
	}
	return &Client{settings: settings, conn: conn, api: operatorv1.NewOperatorClient(conn), watch: newWatch()}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// source is how resources say whom they are from.
const source = "the operator"

// Configuration gives the Configuration of a name, over the defaults.
func (c *Client) Configuration(ctx context.Context, name string) (*config.Configuration, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := c.api.GetConfiguration(ctx, &operatorv1.GetConfigurationRequest{Name: name, Namespace: c.settings.Namespace, PodName: c.settings.Pod})
	if err != nil {
		return nil, fmt.Errorf("error loading configuration: %s at %s: %w", source, c.settings.Address, err)
	}
	if len(answer.GetConfiguration()) == 0 {
		return nil, fmt.Errorf("error loading configuration: configuration %s not found in namespace %s", name, c.settings.Namespace)
	}
	return config.ParseConfiguration("the Configuration "+name, answer.GetConfiguration())
}

// Resources gives all resources of the namespace; those of kinds that the operator does not know are none. The error
// names the kind that could not be had.
func (c *Client) Resources(ctx context.Context) (*config.Resources, error) {
	var all []config.Manifest
	for _, list := range []struct {
		kind string
		ask  func(context.Context) ([][]byte, error)
	}{
		{"Component", c.components}, {"HTTPEndpoint", c.endpoints}, {"Resiliency", c.resiliencies}, {"Subscription", c.subscriptions},
	} {
		texts, err := c.list(ctx, list.ask)
		if err != nil {
			return nil, fmt.Errorf("%s at %s does not list the resources of kind %s: %w", source, c.settings.Address, list.kind, err)
		}
		for _, text := range texts {
			all = append(all, config.Manifest{Kind: list.kind, Text: text})
		}
	}
	resources, err := config.ReadManifests(source, all)
	if err != nil {
		return nil, err
	}
	for _, err := range resources.GiveSecrets(SecretStore) {
		resources.Warnings = append(resources.Warnings, err.Error())
	}
	return resources, nil
}

func (c *Client) list(ctx context.Context, ask func(context.Context) ([][]byte, error)) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	texts, err := ask(ctx)
	if status.Code(err) == codes.Unimplemented {
		return nil, nil // that of Dapr 1.7 knows fewer kinds
	}
	return texts, err
}

func (c *Client) components(ctx context.Context) ([][]byte, error) {
	answer, err := c.api.ListComponents(ctx, &operatorv1.ListComponentsRequest{Namespace: c.settings.Namespace, PodName: c.settings.Pod})
	return answer.GetComponents(), err
}

func (c *Client) endpoints(ctx context.Context) ([][]byte, error) {
	answer, err := c.api.ListHTTPEndpoints(ctx, &operatorv1.ListHTTPEndpointsRequest{Namespace: c.settings.Namespace})
	return answer.GetHttpEndpoints(), err
}

func (c *Client) resiliencies(ctx context.Context) ([][]byte, error) {
	answer, err := c.api.ListResiliency(ctx, &operatorv1.ListResiliencyRequest{Namespace: c.settings.Namespace})
	return answer.GetResiliencies(), err
}

func (c *Client) subscriptions(ctx context.Context) ([][]byte, error) {
	answer, err := c.api.ListSubscriptionsV2(ctx, &operatorv1.ListSubscriptionsRequest{Namespace: c.settings.Namespace, PodName: c.settings.Pod})
	return answer.GetSubscriptions(), err
}
