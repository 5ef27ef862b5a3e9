package runtime

import (
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/security"
)

// controlAccess puts the Configuration's access control in force over the calls of other sidecars.
func (r *Runtime) controlAccess(spec *config.AccessControlSpec) {
	log := r.deps.Logs.Scope("dapr.acl")
	policy, doubts := security.NewPolicy(spec, !r.cfg.AppProtocol.IsGRPC())
	for _, doubt := range doubts {
		log.Warn(doubt)
	}
	switch {
	case !spec.Enabled():
		log.Debug("No Access control policy specified")
	case len(spec.Policies) > 0 && !r.cfg.MTLS.Enabled:
		log.Warn("callers have no identity without mutual TLS: the global defaultAction of spec.accessControl decides on all of them, its policies on none")
	}
	r.access.Set(policy)
}
