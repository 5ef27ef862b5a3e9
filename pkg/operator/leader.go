package operator

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
	"k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// leaseName is that of the Lease by which replicas agree on who leads.
	leaseName = "operator.dapr.io"
	// The times are the usual ones of Kubernetes' own controllers.
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	leaseRetry    = 2 * time.Second
)

// lead does the leader's duties while this replica leads, until ctx ends.
func (o *Operator) lead(ctx context.Context, to *rest.Config, duties func(context.Context)) error {
	if o.cfg.Alone {
		o.metrics.leads.Set(1)
		duties(ctx)
		return nil
	}
	leases, err := v1.NewForConfig(to)
	if err != nil {
		return err
	}
	host, _ := os.Hostname()
	lock := &resourcelock.LeaseLock{LeaseMeta: metav1.ObjectMeta{Namespace: o.cfg.Namespace, Name: leaseName}, Client: leases,
		LockConfig: resourcelock.ResourceLockConfig{Identity: fmt.Sprintf("%s_%s", host, uuid.NewString())}}
	// One that led waits for the end of its duties before it may lead again; those that begin too late find ctx ended.
	var working sync.Mutex
	for ctx.Err() == nil {
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: lock, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: leaseRetry, ReleaseOnCancel: true, Name: leaseName,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(ctx context.Context) {
					working.Lock()
					defer working.Unlock()
					if ctx.Err() != nil {
						return
					}
					o.metrics.leads.Set(1)
					o.log.Info("This replica leads")
					duties(ctx)
				},
				OnStoppedLeading: func() {
					o.metrics.leads.Set(0)
					if ctx.Err() == nil {
						o.log.Warn("This replica no longer leads: the lease could not be renewed")
					}
				},
			},
		})
		if err != nil {
			return err
		}
		elector.Run(ctx)
		func() {
			working.Lock()
			defer working.Unlock()
		}()
	}
	return nil
}
