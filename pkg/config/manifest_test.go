package config_test

import (
	"strings"
	"testing"

	"github.com/daprd/daprd/pkg/config"
)

// TestManifests: resources of an API need not say their kind; what cannot be read costs no others.
func TestManifests(t *testing.T) {
	r, err := config.ReadManifests("the operator", []config.Manifest{
		{Kind: "Component", Text: []byte(`{"metadata":{"name":"a"},"spec":{"type":"state.redis","metadata":[` +
			`{"name":"given","value":"aHVudGVyMg==","secretKeyRef":{"name":"s"}},{"name":"open","secretKeyRef":{"name":"s"}},` +
			`{"name":"bad","value":"?","secretKeyRef":{"name":"s"}},{"name":"plain","value":"aHVudGVyMg=="}]}}`)},
		{Kind: "Component", Text: []byte(`{"metadata":{"name":"b"},"auth":{"secretStore":"vault"},"spec":{"type":"state.redis","metadata":[` +
			`{"name":"x","value":"aHVudGVyMg==","secretKeyRef":{"name":"s"}}]}}`)},
		{Kind: "Subscription", Text: []byte(`{"metadata":{"name":"s"},"spec":{"topic":"t","pubsubname":"p","routes":{"default":"/o"}}}`)},
		{Kind: "Subscription", Text: []byte(`{"metadata":{"name":"half"},"spec":{"topic":"t"}}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Components) != 2 || len(r.Subscriptions) != 1 || len(r.Unreadable) != 1 || !strings.Contains(r.Warnings[0], "the Subscription half of the operator") {
		t.Fatalf("got %+v", r)
	}
	errs := r.GiveSecrets("kubernetes")
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "property bad of a") || strings.Contains(errs[0].Error(), "?") {
		t.Errorf("errors: %v", errs)
	}
	a := r.Components[0]
	if p := a.Spec.Metadata; p[0].Value != "hunter2" || !p[0].Given || p[1].Given || p[2].Given || p[3].Value != "aHVudGVyMg==" || a.Auth.SecretStore != "kubernetes" {
		t.Errorf("got %+v of %q", p, a.Auth.SecretStore)
	}
	if p := r.Components[1].Spec.Metadata[0]; p.Given || p.Value != "aHVudGVyMg==" {
		t.Errorf("that of another store: %+v", p)
	}
}
