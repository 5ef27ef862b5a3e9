package channel

import (
	"context"
	"net/http"
	"strings"
	"testing"
)

// caller notes the methods that it is asked for.
type caller struct{ methods []string }

func (c *caller) Invoke(_ context.Context, req *Request) (*Response, error) {
	c.methods = append(c.methods, req.Method)
	return &Response{Status: http.StatusOK}, nil
}

// TestKeysOfUpdates: a key is data of a store, which others may write. It names an item, never another path of the
// application.
func TestKeysOfUpdates(t *testing.T) {
	for key, path := range map[string]string{"a": "configuration/s/a", "a/b": "configuration/s/a/b", "a.b": "configuration/s/a.b", "%2e%2e/x": "configuration/s/%2e%2e/x"} {
		app := &caller{}
		if err := configurationUpdate(t.Context(), app, &ConfigurationUpdate{Store: "s", Key: key}); err != nil || len(app.methods) != 1 || app.methods[0] != path {
			t.Errorf("%q: %q, %v", key, app.methods, err)
		}
	}
	for _, key := range []string{"../../admin/reset", "..", "a/../b", "./a", "a//b", "/a", "a?b", "a#b", "a\r\nb", "a\x00"} {
		app := &caller{}
		err := configurationUpdate(t.Context(), app, &ConfigurationUpdate{Store: "s", Key: key})
		if len(app.methods) > 0 {
			t.Errorf("%q: the application was called at %q", key, app.methods)
		}
		if err == nil || !strings.Contains(err.Error(), "stands in no path") {
			t.Errorf("%q: %v", key, err)
		}
	}
}
