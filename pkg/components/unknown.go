package components

import (
	"slices"
	"strings"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/state"
)

// shared are the properties that the sidecar itself reads from any component of a category, besides those
// of state.PropertyNames.
var shared = []string{
	"consumerID",
	"scopes", "route", "direction",
}

// warnUnknown writes one warning for each property that nobody reads: users' manifests carry extras, and
// must go on working.
func warnUnknown(spec *Spec, fields []field) {
	known := slices.Concat(shared, state.PropertyNames(), pubsub.PropertyNames())
	for _, f := range fields {
		known = append(known, f.names...)
	}
	names := make([]string, 0, len(spec.Properties))
	for name := range spec.Properties {
		if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, name) }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		hint := ""
		if near := config.Nearest(name, known); near != "" {
			hint = "; did you mean " + near + "?"
		}
		spec.Log.Warnf("component %s (%s/%s): metadata property %q is not known and has no effect%s",
			spec.Name, spec.Type, spec.Version, name, hint)
	}
}
