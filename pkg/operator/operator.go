// Package operator is the part of the control plane that tells sidecars of the resources of a cluster
// (dapr.proto.operator.v1.Operator), keeps the services by which they find each other, and converts Subscriptions. It must
// not know what sidecars do with what they are told.
package operator

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/daprd/daprd/pkg/listen"
	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/process"
	operatorv1 "github.com/daprd/daprd/pkg/proto/operator/v1"
)

const (
	// ownAppID is the operator's name to sentry, which puts the name of the webhook's service into the certificate.
	ownAppID = "dapr-operator"
	// grace is how long calls in flight have at the end.
	grace = 5 * time.Second
	// pingAfter and pingTimeout find out that a sidecar is gone without a word.
	pingAfter   = 30 * time.Second
	pingTimeout = 20 * time.Second
	// mostStreams is how many calls one sidecar may have at once: a stream a kind, and questions.
	mostStreams = 64
)

// Deps are what code passes.
type Deps struct {
	Logs *logging.Logs
}

// Operator is one replica, ready when sidecars are served. Run is called once.
type Operator struct {
	*process.Part
	cfg     Config
	log     *logrus.Entry
	logs    *logging.Logs
	metrics *metrics
	webhook net.Addr
}

// New checks the Config; it does no I/O.
func New(cfg Config, deps Deps) (*Operator, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	log, metrics := deps.Logs.Scope("dapr.operator"), newMetrics()
	return &Operator{Part: process.NewPart(metrics.registry, log), cfg: cfg, log: log, logs: deps.Logs, metrics: metrics}, nil
}

// WebhookAddress is where the API server has Subscriptions converted; call it once Ready is closed.
func (o *Operator) WebhookAddress() net.Addr { return o.webhook }

// Run serves until ctx ends. It waits for sentry and for the API server as long as that takes. An error tells why it could
// not start or go on.
func (o *Operator) Run(ctx context.Context) error {
	to, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules(o.cfg.Kubeconfig), nil).ClientConfig()
	if err != nil {
		return fmt.Errorf("find the API server: %w; --kubeconfig names a file that tells of it", err)
	}
	to.QPS, to.UserAgent = -1, ownAppID // the API server itself bounds who asks too much
	api, err := dynamic.NewForConfig(to)
	if err != nil {
		return fmt.Errorf("client of the API server: %w", err)
	}
	return o.Live(ctx, &o.cfg.Observed, func(ctx context.Context, start process.Start) error { return o.serve(ctx, start, to, api) })
}

// rules find the API server: that of the file, or else of the pod's cluster.
func rules(kubeconfig string) *clientcmd.ClientConfigLoadingRules {
	found := clientcmd.NewDefaultClientConfigLoadingRules()
	found.ExplicitPath = kubeconfig
	return found
}

// serve takes up the identity, sees the resources, and then has all parts at work.
func (o *Operator) serve(ctx context.Context, start process.Start, to *rest.Config, api dynamic.Interface) error {
	mesh, ok := o.mesh(ctx, api)
	if !ok {
		return nil
	}
	credentials := process.Credentials{AppID: ownAppID, Namespace: o.cfg.Namespace, TrustDomain: mesh.trustDomain,
		SentryAddress: mesh.sentryAddress, AnchorsFile: o.cfg.AnchorsFile, TokenFile: o.cfg.TokenFile, Kubernetes: true}
	identity, anchors, ok := credentials.Obtain(ctx, start, o.logs.Scope("dapr.operator.security"))
	if !ok {
		return nil
	}

	// The API server has Subscriptions converted before it shows them.
	mux := http.NewServeMux()
	mux.HandleFunc(conversionPath, convert)
	at := process.Endpoint{Address: o.cfg.WebhookListenAddress, Port: o.cfg.WebhookPort, TLS: identity.WebhookConfig(), Grace: grace}
	var err error
	if o.webhook, err = process.HTTP(ctx, start, o.log, at, mux); err != nil {
		return fmt.Errorf("webhook server: %w", err)
	}
	o.log.Infof("Conversion webhook server is listening on %s", o.webhook)
	crd := &definition{api: api, anchors: anchors, namespace: o.cfg.Namespace, log: o.log}
	start(func() error { crd.run(ctx); return nil })

	seen := &watcher{api: api, namespace: o.cfg.WatchNamespace, log: o.log, blind: map[string]string{}}
	known := &server{components: newFeed(&components), configurations: newFeed(&configurations), subscriptions: newFeed(&subscriptions),
		resiliencies: newFeed(&resiliencies), endpoints: newFeed(&endpoints), vault: &vault{api}, pods: &pods{api}, metrics: o.metrics, closing: ctx.Done()}
	if err := o.see(ctx, start, seen, known.feeds()); err != nil || ctx.Err() != nil {
		return err
	}
	start(func() error {
		return o.lead(ctx, to, func(ctx context.Context) { o.duties(ctx, api, seen) })
	})
	return o.serveSidecars(ctx, start, known, identity.ServerConfig())
}

// see starts the informers, and returns when all of them have seen what is there.
func (o *Operator) see(ctx context.Context, start process.Start, seen *watcher, feeds []*feed) error {
	var synced []cache.InformerSynced
	for _, f := range feeds {
		informer, err := seen.informer(f.kind.resource, "", f.kind.keep)
		if err != nil {
			return err
		}
		f.informer = informer
		registered, err := informer.AddEventHandler(f.handler())
		if err != nil {
			return err
		}
		synced = append(synced, registered.HasSynced)
		start(func() error { informer.RunWithContext(ctx); return nil })
	}
	cache.WaitForCacheSync(ctx.Done(), synced...)
	return nil
}

// serveSidecars answers until ctx ends. Streams end then; other calls in flight have the grace period.
func (o *Operator) serveSidecars(ctx context.Context, start process.Start, known *server, security *tls.Config) error {
	listeners, err := listen.TCP(ctx, []string{o.cfg.ListenAddress}, o.cfg.Port, o.log)
	if err != nil {
		return err
	}
	known.conns = newConnections(listeners[0])
	grpcServer := grpc.NewServer(grpc.Creds(credentials.NewTLS(security)), grpc.MaxConcurrentStreams(mostStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout}))
	operatorv1.RegisterOperatorServer(grpcServer, known)
	o.GRPC(ctx, start, o.log, known.conns, grpcServer, grace)
	return nil
}

// duties are those of the replica that leads.
func (o *Operator) duties(ctx context.Context, api dynamic.Interface, seen *watcher) {
	var work sync.WaitGroup
	defer work.Wait()
	if !o.cfg.WithoutServices {
		kept := &services{api: api, kinds: []*workloadKind{&deployments, &statefulSets}, log: o.logs.Scope("dapr.operator.services"), metrics: o.metrics}
		if o.cfg.Rollouts {
			kept.kinds = append(kept.kinds, &rollouts)
		}
		work.Go(func() {
			if err := kept.run(ctx, seen); err != nil {
				o.log.Errorf("The services of applications are not kept: %s", err)
			}
		})
	}
	if o.cfg.Watchdog != 0 {
		dog := &watchdog{pods: &pods{api}, namespace: o.cfg.WatchNamespace, own: o.cfg.Namespace, interval: o.cfg.Watchdog, most: o.cfg.MaxRestarts,
			patch: o.cfg.PatchPods, log: o.logs.Scope("dapr.operator.watchdog"), metrics: o.metrics}
		work.Go(func() { dog.run(ctx) })
	}
	<-ctx.Done()
}

// mesh is what the control plane's Configuration says of it.
type mesh struct{ trustDomain, sentryAddress string }

// mesh reads the Configuration, again and again while the API server does not answer. Without one the defaults hold. It is
// false when ctx ended first.
func (o *Operator) mesh(ctx context.Context, api dynamic.Interface) (m mesh, ok bool) {
	m = mesh{defaultTrustDomain, fmt.Sprintf("dapr-sentry.%s.svc:443", o.cfg.Namespace)}
	var found *unstructured.Unstructured
	ok = process.Insist(ctx, o.log, "The API server does not give the Configuration "+o.cfg.Configuration, func() (err error) {
		found, err = api.Resource(configurations.resource).Namespace(o.cfg.Namespace).Get(ctx, o.cfg.Configuration, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			found = nil
			return nil
		}
		return err
	})
	if found != nil {
		for field, into := range map[string]*string{"controlPlaneTrustDomain": &m.trustDomain, "sentryAddress": &m.sentryAddress} {
			if text, _, _ := unstructured.NestedString(found.Object, "spec", "mtls", field); text != "" {
				*into = text
			}
		}
	}
	if o.cfg.SentryAddress != "" {
		m.sentryAddress = o.cfg.SentryAddress
	}
	return m, ok
}
