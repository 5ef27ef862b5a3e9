package runtime

import (
	"context"
	"slices"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/resiliency"
)

// loadResiliency puts the Resiliency resources in force. A folder that cannot be read is told of where the components
// are loaded.
func (r *Runtime) loadResiliency(ctx context.Context) (ending, error) {
	resources, err := r.resources(ctx)
	if err != nil && r.cfg.Mode == Kubernetes {
		return ending{}, err
	}
	if err != nil {
		return ending{}, nil
	}
	mine := r.resiliencies(resources)
	if len(mine) == 0 {
		r.log.Debug("Resiliency is not enabled.")
		return ending{}, nil
	}
	r.log.Debugf("Found %d resiliency configurations.", len(mine))
	return ending{}, r.heed(mine)
}

// heed puts these resources in force in place of those before, for one caller at a time. One that cannot be used is
// an error in the log, and the one of its name that was in force stays; without one the application runs without
// these policies.
func (r *Runtime) heed(found []config.Resiliency) error {
	usable := make([]config.Resiliency, 0, len(found))
	for _, each := range found {
		if err := resiliency.Check(&each); err != nil {
			before := slices.IndexFunc(r.heeded, func(h config.Resiliency) bool { return h.Meta.Name == each.Meta.Name })
			if before < 0 {
				r.log.Errorf("the Resiliency %s is left out: %s", each.Meta.Name, err)
				continue
			}
			r.log.Errorf("the change of the Resiliency %s is refused, what it said before stays: %s", each.Meta.Name, err)
			usable = append(usable, r.heeded[before])
			continue
		}
		r.log.Infof("Loading Resiliency configuration: %s", each.Meta.Name)
		usable = append(usable, each)
	}
	warnings, err := r.policies.Set(usable...)
	if err != nil {
		return err
	}
	for _, warning := range warnings {
		r.log.Warn(warning)
	}
	r.heeded = usable
	return nil
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
