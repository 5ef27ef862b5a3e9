package components

import (
	"slices"
	"strings"

	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/state"
)

// shared are the properties that the sidecar itself reads from any component of a category, besides those
// of state.PropertyNames.
var shared = []string{
	"consumerID",
	"scopes", "route", "direction",
}

// longest is the most letters of a name that a similar one is looked for.
const longest = 100

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
		if near := nearest(name, known); near != "" {
			hint = "; did you mean " + near + "?"
		}
		spec.Log.Warnf("component %s (%s/%s): metadata property %q is not known and has no effect%s",
			spec.Name, spec.Type, spec.Version, name, hint)
	}
}

// nearest is the known name with the fewest edits, "" when even that is far.
func nearest(name string, known []string) string {
	if len(name) > longest {
		return ""
	}
	best, fewest := "", max(2, len(name)/3)+1
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < fewest {
			best, fewest = k, d
		}
	}
	return best
}

// distance counts the single-letter edits from a to b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := diagonal
			if a[i-1] != b[j-1] {
				change++
			}
			diagonal = row[j]
			row[j] = min(row[j]+1, row[j-1]+1, change)
		}
	}
	return row[len(b)]
}
