package runtime

import (
	"errors"
	"strings"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/middleware"
)

// setPipelines makes the pipelines of the Configuration of the components that were found. An error is a pipeline that
// would leave open what it is there to close.
func (r *Runtime) setPipelines(spec config.ConfigurationSpec, found []config.Component) error {
	outer := r.handlers(spec.HTTPPipeline, found)
	inner := r.handlers(spec.AppHTTPPipeline, found)
	if r.cfg.AppProtocol.IsGRPC() && len(inner) > 0 {
		r.log.Warn("the Configuration's spec.appHttpPipeline has no effect: the app speaks gRPC, and middleware is for HTTP")
		inner = nil
	}
	return errors.Join(r.middleware.HTTP.Set(outer), r.middleware.App.Set(inner))
}

func (r *Runtime) handlers(spec config.PipelineSpec, found []config.Component) (handlers []middleware.Handler) {
	for _, h := range spec.Handlers {
		handlers = append(handlers, middleware.Handler{Name: h.Name, Type: h.Type, Version: h.Version, Tolerated: tolerated(h.Name, found)})
		r.log.Infof("enabled %s/%s http middleware", h.Type, h.Version)
	}
	return handlers
}

// tolerated says that the manifest of the component has ignoreErrors.
func tolerated(name string, found []config.Component) bool {
	for i := range found {
		if found[i].Meta.Name == name && strings.HasPrefix(found[i].Spec.Type, "middleware.") {
			return found[i].Spec.IgnoreErrors
		}
	}
	return false
}
