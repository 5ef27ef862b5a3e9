package runtime

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/components/operator"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/security"
)

// The patience of a start with an operator that does not answer: as many tries as Dapr's, each of 5 seconds at most.
const (
	operatorTries = 100
	operatorPause = 500 * time.Millisecond
	operatorMost  = 5 * time.Second
)

// cluster is the source of Kubernetes mode: the operator.
type cluster struct {
	*Runtime
	log *logrus.Entry

	// client is there after the first question. Only the stages of the start ask before others can.
	client *operator.Client
	// started says that a failure is no longer waited out.
	started bool
	// stranger says why the last who answered is not the operator, "" if it is.
	stranger atomic.Pointer[string]
}

// open makes the client; the sidecar shows the operator who it is.
func (c *cluster) open(ctx context.Context) error {
	if c.client != nil {
		return nil
	}
	if err := c.establish(); err != nil {
		return err
	}
	if err := c.identity.Obtain(ctx); err != nil {
		return fmt.Errorf("failed to retrieve the initial identity: %w", err)
	}
	m := c.cfg.MTLS
	who := security.Peer{TrustDomain: m.ControlPlaneTrustDomain, Namespace: m.ControlPlaneNamespace, AppID: "dapr-operator"}
	show := c.identity.ClientConfig(who)
	show.VerifyConnection = c.noting(show.VerifyConnection)
	client, err := operator.New(operator.Settings{Address: c.cfg.Cluster.OperatorAddress, Namespace: c.namespace(), Pod: c.cfg.PodName,
		Credentials: credentials.NewTLS(show), Log: c.log})
	c.client = client
	return err
}

// noting keeps what verify says, which the errors of gRPC hold as a part of their texts alone.
func (c *cluster) noting(verify func(tls.ConnectionState) error) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		err := verify(state)
		why := ""
		if err != nil {
			why = err.Error()
		}
		c.stranger.Store(&why)
		return err
	}
}

func (c *cluster) configuration(ctx context.Context) (found *config.Configuration, err error) {
	err = c.ask(ctx, func() error {
		found, err = c.client.Configuration(ctx, c.cfg.ConfigFiles[0])
		return err
	})
	return found, err
}

func (c *cluster) resources(ctx context.Context) (found *config.Resources, err error) {
	err = c.ask(ctx, func() error {
		found, err = c.client.Resources(ctx)
		return err
	})
	return found, err
}

// ask has a question answered; at the start one that fails is asked again.
func (c *cluster) ask(ctx context.Context, question func() error) error {
	if err := c.open(ctx); err != nil {
		return err
	}
	told := map[string]bool{}
	for try, pause := 1, operatorPause; ; try, pause = try+1, min(2*pause, operatorMost) {
		err := question()
		switch {
		case err != nil && c.started && (c.client.Lost() || ctx.Err() != nil):
			return errAway
		case err == nil && len(told) > 0:
			c.log.Info("the operator answers, the start goes on")
			return nil
		case err == nil || c.started || ctx.Err() != nil:
			return err
		case try == operatorTries:
			return fmt.Errorf("given up after %d tries: %w", try, err)
		}
		if cause := c.cause(err); !told[cause] {
			told[cause] = true
			c.log.Warnf("the start waits for the operator, which is asked up to %d times: %s", operatorTries, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// cause is what is told once: nobody is there, whatever becomes of the connections; another is; or what the operator says.
func (c *cluster) cause(err error) string {
	if code := status.Code(err); code != codes.Unavailable && code != codes.DeadlineExceeded {
		return err.Error()
	}
	if stranger := c.stranger.Load(); stranger != nil {
		return *stranger
	}
	return ""
}

func (c *cluster) watch(ctx context.Context, _ logrus.FieldLogger, _ time.Duration) watching {
	c.started = true
	var wait sync.WaitGroup
	wait.Go(func() { c.client.Watch(ctx) })
	return watching{c.client.Next, func() error {
		wait.Wait()
		return nil
	}}
}

func (c *cluster) close() error {
	if c.client == nil {
		return nil
	}
	return c.client.Close()
}

// refuseRoot keeps the sidecar of a pod from running as root.
func (r *Runtime) refuseRoot(context.Context) (ending, error) {
	log := r.deps.Logs.Scope("dapr.runtime.security")
	switch uid := os.Getuid(); {
	case r.cfg.Mode != Kubernetes:
	case r.cfg.Cluster.AllowRoot:
		log.Warn("Skipping container UID/GID check due to env override.")
	case uid == 0 || os.Getgid() == 0:
		return ending{}, fmt.Errorf("current user UID(%d) is root or its group is. Dapr must be run as a non-root user in Kubernetes environments. "+
			"To override this check, set the environment variable 'DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK=true'", uid)
	default:
		log.Infof("Running in Kubernetes environment as user %d", uid)
	}
	return ending{}, nil
}

// loadSecretStore loads the store of the cluster's Secrets, which every sidecar of a cluster has. A component of its
// name takes its place.
func (r *Runtime) loadSecretStore(ctx context.Context, found []config.Component) error {
	if r.cfg.Mode != Kubernetes || r.cfg.Cluster.WithoutSecretStore {
		return nil
	}
	store := config.Component{Meta: config.Meta{Name: operator.SecretStore}, Spec: config.ComponentSpec{Type: "secretstores.kubernetes", Version: "v1",
		IgnoreErrors: true}}
	for i := range found {
		if found[i].Meta.Name == store.Meta.Name {
			return nil
		}
	}
	if file := r.cfg.Cluster.Kubeconfig; file != "" {
		store.Spec.Metadata = []config.Property{{Name: "kubeconfigPath", Value: config.Value(file)}}
	}
	return r.loader.Load(ctx, store)
}
