package runtime

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/daprd/daprd/pkg/actors"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/metadata"
)

// scanInterval is in the trace alone: nobody scans.
const scanInterval = 30 * time.Second

// defaultIdle is that of the trace.
const defaultIdle = time.Hour

// wireActors makes the block of actors. It hosts nothing yet.
func (r *Runtime) wireActors() {
	r.actors = actors.New(actors.Deps{AppID: r.cfg.AppID, Namespace: r.namespace(), Table: &r.table, State: r.state, App: &r.app, Others: r.messaging,
		Policies: r.policies, Observer: r.metrics, Log: r.deps.Logs.Scope("dapr.runtime.actor")})
	if r.placement = r.wirePlacement(r.actors); r.placement != nil {
		r.table.Fill(r.placement)
	}
	r.state.WatchActorStore(r.actors.Reconsider)
}

// startActors has the application's types hosted, and logs the lines of the trace. Nobody waits for placement: what
// cannot be hosted yet is as soon as it can be.
func (r *Runtime) startActors(ctx context.Context) (ending, error) {
	closePlacement := r.openPlacement(ctx)
	log := r.deps.Logs.Scope("dapr.runtime.actor")
	own := r.appConfiguration
	if own.ReminderPartitions > 0 {
		log.Warn("remindersStoragePartitions is deprecated and will be removed in future versions")
	}
	if _, ok := r.state.ActorStore(); !ok {
		r.log.Warn("failed to init actors: no actor state store defined")
	} else if err := r.state.ActorStoreReady(); err != nil && len(own.Entities) > 0 {
		r.log.Warnf("failed to init actors: %s", err)
	} else {
		log.Infof("actor runtime started. actor idle timeout: %v. actor scan interval: %v", orDefault(own.IdleTimeout), scanInterval)
	}
	var wait sync.WaitGroup
	hosting, stop := context.WithCancel(context.WithoutCancel(ctx))
	if app, ok := r.app.Load(); ok && len(own.Entities) > 0 {
		if host := channel.Actors(app); host != nil {
			log.Infof("Registering hosted actors: %v", own.Entities)
			wait.Go(func() {
				if _, err := r.actors.Host(hosting, own, host); err != nil {
					log.Errorf("the application's actors cannot be hosted: %s", err)
				}
			})
		}
	}
	return ending{withdraw: stop, close: func(context.Context) error {
		wait.Wait()
		return errors.Join(r.actors.Close(), closePlacement())
	}}, nil
}

func orDefault(idle *time.Duration) time.Duration {
	if idle == nil || *idle <= 0 {
		return defaultIdle
	}
	return *idle
}

// leaveActors takes the actors back while others are still answered.
func (r *Runtime) leaveActors(ctx context.Context) {
	ctx, cancel := leaving(ctx)
	defer cancel()
	r.actors.Leave(ctx)
}

// activeActors is for the metadata API.
func (r *Runtime) activeActors() (all []metadata.ActorCount) {
	for _, c := range r.actors.Counts() {
		all = append(all, metadata.ActorCount{Type: c.Type, Count: c.Active})
	}
	return all
}

// actorRuntime is for the metadata API: running is a sidecar that hosts types, and disabled one that could not.
func (r *Runtime) actorRuntime() metadata.ActorRuntime {
	table, ok := r.table.Load()
	if !ok || r.state.ActorStoreReady() != nil {
		return metadata.ActorRuntime{Status: metadata.ActorsDisabled}
	}
	status := table.Status()
	runtime := metadata.ActorRuntime{Status: metadata.ActorsInitializing, HostReady: status.Ready && r.actors.Hosting()}
	if runtime.HostReady {
		runtime.Status = metadata.ActorsRunning
	}
	if status.Connected {
		runtime.Placement = "placement: connected"
	} else if r.cfg.named() {
		runtime.Placement = "placement: disconnected"
	}
	return runtime
}
