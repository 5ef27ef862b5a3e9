package sdk

import (
	"strconv"
	"testing"
)

// actorStore is the flag of a folder with a state store for actors.
func actorStore(t *testing.T) string {
	t.Helper()
	return components(t, `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: actorstore}
spec:
  type: state.in-memory
  version: v1
  metadata: [{name: actorStateStore, value: "true"}]
`)
}

// TestJavaScriptActors runs js/actors.mjs: an HTTP application that hosts actors and calls them.
func TestJavaScriptActors(t *testing.T) {
	javaScript(t)
	port := freePorts(t, 1)[0]
	s := launch(t, "js-actors", port, "http", actorStore(t))
	runNode(t, "actors.mjs", s, "APP_PORT="+strconv.Itoa(port))
}
