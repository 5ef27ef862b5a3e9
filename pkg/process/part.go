package process

import (
	"context"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
)

// retryPause is how long Insist waits before it tries again.
const retryPause = time.Second

// Part is what all parts of the control plane have: health, metrics, and the addresses where they answer.
type Part struct {
	metrics prometheus.Gatherer
	log     logrus.FieldLogger

	ready                   chan struct{}
	address, health, scrape net.Addr
}

// NewPart makes one that is not ready.
func NewPart(metrics prometheus.Gatherer, log logrus.FieldLogger) *Part {
	return &Part{metrics: metrics, log: log, ready: make(chan struct{})}
}

// Ready is closed when the part does what it is there for.
func (p *Part) Ready() <-chan struct{} { return p.ready }

// Address is where it does; call it once Ready is closed.
func (p *Part) Address() net.Addr { return p.address }

// HealthAddress is where /healthz answers; call it once Ready is closed.
func (p *Part) HealthAddress() net.Addr { return p.health }

// MetricsAddress is where metrics are served, nil if they are not; call it once Ready is closed.
func (p *Part) MetricsAddress() net.Addr { return p.scrape }

// SetReady says where the part answers from now on. It is called once.
func (p *Part) SetReady(at net.Addr) {
	p.address = at
	close(p.ready)
}

// Live shows health and metrics, and has serve at work until ctx ends. The error tells why it could not start or go on.
func (p *Part) Live(ctx context.Context, shown *Observed, serve func(ctx context.Context, start Start) error) error {
	return Together(ctx, func(ctx context.Context, start Start) (err error) {
		if p.health, p.scrape, err = shown.Serve(ctx, start, p.log, p.ready, p.metrics); err != nil {
			return err
		}
		return serve(ctx, start)
	})
}

// GRPC has the part ready, and answers until ctx ends; the calls in flight have the grace period then.
func (p *Part) GRPC(ctx context.Context, start Start, log logrus.FieldLogger, listener net.Listener, server *grpc.Server, grace time.Duration) {
	log.Infof("Running gRPC server on %s", listener.Addr())
	start(func() error { return server.Serve(listener) })
	p.SetReady(listener.Addr())
	<-ctx.Done()
	log.Info("Shutting down gRPC server")
	end := time.AfterFunc(grace, server.Stop)
	server.GracefulStop()
	end.Stop()
}

// Insist tries again and again until it works, or ctx ends: then it is false. Each failure is told once.
func Insist(ctx context.Context, log logrus.FieldLogger, failure string, try func() error) bool {
	for told := ""; ctx.Err() == nil; {
		err := try()
		if err == nil {
			return true
		}
		if ctx.Err() == nil && err.Error() != told {
			told = err.Error()
			log.Warnf("%s; it is tried again until it works: %s", failure, err)
		}
		timer := time.NewTimer(retryPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	return false
}
