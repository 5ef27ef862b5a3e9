package runtime

import (
	"context"
	"sync"

	"github.com/daprd/daprd/pkg/channel"
)

// checked puts the health of the application before the calls to it, where it is looked after.
func (r *Runtime) checked(app channel.App) channel.App {
	h := r.cfg.AppHealth
	if h == nil {
		return app
	}
	r.appHealth = channel.NewHealth(channel.HealthSettings{Path: h.Path, Interval: h.Interval, Timeout: h.Timeout, Threshold: h.Threshold,
		Observe: r.metrics.AppProbed, Log: r.deps.Logs.Scope("dapr.apphealth")})
	r.intake.ill = true
	r.actors.Well(context.Background(), false)
	return channel.Healthy(app, r.appHealth)
}

// watchApp begins to look after the health of the application. The sidecar is initialised whatever it is: an
// application may need the sidecar to become well.
func (r *Runtime) watchApp(ctx context.Context) (ending, error) {
	app, ok := r.app.Load()
	if !ok || r.appHealth == nil {
		return ending{}, nil
	}
	// It goes on while the shutdown is blocked, until the drain.
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wait sync.WaitGroup
	wait.Go(func() { r.appHealth.Run(watching, app) })
	wait.Go(func() { r.followHealth(watching) })
	return ending{withdraw: stop, close: func(context.Context) error {
		wait.Wait()
		return nil
	}}, nil
}

// followHealth lets messages and events flow, and hosts actors, while the application is well.
func (r *Runtime) followHealth(ctx context.Context) {
	for well := true; r.appHealth.Await(ctx, well) == nil; well = !well {
		r.actors.Well(ctx, well)
		if err := r.intake.health(ctx, well); err != nil && ctx.Err() == nil {
			r.log.Warnf("the application's health has changed, and with it what is brought to it: %s", err)
		}
	}
}

// ill returns true when the application is reported ill, false when ctx ends first.
func (r *Runtime) ill(ctx context.Context) bool {
	if r.appHealth == nil {
		<-ctx.Done()
		return false
	}
	return r.appHealth.Await(ctx, false) == nil
}
