package runtime

import (
	"context"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/resiliency"
)

// loadResiliency puts the Resiliency resources in force. One that cannot be used is left out, with its error in the
// log: the application runs, without these policies. A folder that cannot be read is told of where the components
// are loaded.
func (r *Runtime) loadResiliency(context.Context) (ending, error) {
	resources, err := r.resources()
	if err != nil {
		return ending{}, nil
	}
	mine := r.resiliencies(resources)
	if len(mine) == 0 {
		r.log.Debug("Resiliency is not enabled.")
		return ending{}, nil
	}
	r.log.Debugf("Found %d resiliency configurations.", len(mine))
	usable := mine[:0]
	for i := range mine {
		if err := resiliency.Check(&mine[i]); err != nil {
			r.log.Errorf("the Resiliency %s is left out: %s", mine[i].Meta.Name, err)
			continue
		}
		r.log.Infof("Loading Resiliency configuration: %s", mine[i].Meta.Name)
		usable = append(usable, mine[i])
	}
	warnings, err := r.policies.Set(usable...)
	for _, warning := range warnings {
		r.log.Warn(warning)
	}
	return ending{}, err
}

// resiliencies are those that this sidecar heeds.
func (r *Runtime) resiliencies(resources *config.Resources) (mine []config.Resiliency) {
	for _, each := range resources.Resiliencies {
		if config.Authorised(each.Meta, each.Scopes, r.cfg.AppID, r.cfg.Namespace) {
			mine = append(mine, each)
		}
	}
	return mine
}
