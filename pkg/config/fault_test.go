package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFaults: a component that is no good is kept with the reason, and the rest of it can be read.
func TestFaults(t *testing.T) {
	const entry = "a mapping with the keys name, value, secretKeyRef, envRef"
	tests := map[string]struct{ text, want string }{
		"nothing":           {component("x"), ""},
		"text for a list":   {component("x") + "scopes: app\n", "scopes: line 10: want a list, each entry a text, found a text"},
		"list in a list":    {component("x") + "scopes: [a, [b]]\n", "scopes[1]: line 10: want a text, found a list"},
		"mapping of values": {component("x") + "  metadata: {redisHost: a}\n", "spec.metadata: line 10: want a list, each entry " + entry + ", found a mapping"},
		"text as an entry":  {component("x") + "  metadata:\n  - {name: a, value: b}\n  - a=b\n", "spec.metadata[1]: line 12: want " + entry + ", found a text"},
		"number for a name": {component("x") + "  metadata:\n  - {name: [1], value: b}\n", "spec.metadata[0].name: line 11: want a text, found a list"},
		"text for a secret": {component("x") + "  metadata:\n  - {name: a, secretKeyRef: b}\n", "spec.metadata[0].secretKeyRef: line 11: want a mapping with the keys name, key, found a text"},
		"list for a key":    {component("x") + "  metadata:\n  - name: a\n    secretKeyRef: {name: b,\n      key: [c]}\n", "spec.metadata[0].secretKeyRef.key: line 13: want a text, found a list"},
		"no boolean":        {component("x") + "  ignoreErrors: maybe\n", "spec.ignoreErrors: line 10: want true or false, found a text"},
		"number, no bool":   {component("x") + "  ignoreErrors: 1\n", "spec.ignoreErrors: line 10: want true or false, found a number"},
		"value of no use":   {component("x") + "  metadata:\n  - name: a\n    value: {[1]: 2}\n", "spec.metadata[0].value: line 12: a key must be a text, a number or a boolean"},
		"list for spec":     {"apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: x}\nspec: [a]\n", "spec: line 6: want a mapping with the keys type, version, ignoreErrors, initTimeout, metadata, found a list"},
		"text for metadata": {"apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: x\nspec: {type: state.in-memory, version: v1}\n", "metadata: line 5: want a mapping with the keys name, namespace, found a text"},
		"auth":              {component("x") + "auth: true\n", "auth: line 10: want a mapping with the keys secretStore, found true or false"},
		"two of them":       {component("x") + "scopes: 1\nauth: []\n", "scopes: line 10: want a list, each entry a text, found a number; auth: line 11: want a mapping with the keys secretStore, found a list"},
		"by an alias":       {component("x") + "extra: &a {b: c}\nscopes: *a\n", "scopes: line 10: want a list, each entry a text, found a mapping"},
		"by a merge":        {component("x") + "<<: {scopes: a}\n", "scopes: line 10: want a list, each entry a text, found a text"},
		"by merges":         {component("x") + "<<: [{auth: {}}, {scopes: a}]\n", "scopes: line 10: want a list, each entry a text, found a text"},
		"contains itself":   {component("x") + "  metadata: &a\n  - value: *a\n", "spec.metadata[0].value: line"},
		"a list in itself":  {component("x") + "scopes: &a [*a]\n", "scopes[0]: line 10: want a text, found a list"},
		"null is nothing":   {component("x") + "  metadata: ~\nscopes:\nauth: ~\n", ""},
		"no name":           {component(""), "metadata.name is missing: "},
		"no metadata":       {"apiVersion: dapr.io/v1alpha1\nkind: Component\nspec: {type: state.in-memory}\n", "metadata.name is missing: "},
		"no type":           {strings.Replace(component("x"), "  type: state.in-memory\n", "", 1), "spec.type is missing: want <category>.<name>"},
		"no spec":           {"apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: x}\n", "spec.type is missing: "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			// Lines are those of the file, not of the document.
			dir := folder(t, map[string]string{"x.yaml": "# a comment\n---\n" + test.text})
			got, err := ReadFolders(dir)
			if err != nil || len(got.Warnings) > 0 || len(got.Components) != 1 {
				t.Fatalf("%v, warnings %q, components %v", err, got.Warnings, got.Components)
			}
			c := got.Components[0]
			if want := (Origin{filepath.Join(dir, "x.yaml"), 1, 2}); c.Origin != want {
				t.Errorf("it is at %s, want %s", c.Origin, want)
			}
			if test.want == "" {
				if c.Fault != nil {
					t.Errorf("fault %v", c.Fault)
				}
				return
			}
			if c.Fault == nil || !strings.HasPrefix(c.Fault.Error(), test.want) {
				t.Errorf("fault %v, want %q", c.Fault, test.want)
			}
		})
	}
}

// TestFaultyRest: what decides whether a fault matters is read whatever else is wrong.
func TestFaultyRest(t *testing.T) {
	text := `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: x, namespace: n, labels: [a]}
spec:
  metadata:
  - {name: a, value: {[1]: 2}}
  - hunter2
  initTimeout: [5s]
  ignoreErrors: true
  type: state.redis
  version: v1
auth: hunter2
scopes: [app]
`
	got, err := ReadFolders(folder(t, map[string]string{"x.yaml": text}))
	if err != nil || len(got.Components) != 1 {
		t.Fatalf("%v, %v", err, got)
	}
	c := got.Components[0]
	want := Component{Meta: Meta{"x", "n"}, Spec: ComponentSpec{Type: "state.redis", Version: "v1", IgnoreErrors: true}, Scopes: []string{"app"}}
	if diff := cmp.Diff(want, Component{Meta: c.Meta, Spec: ComponentSpec{Type: c.Spec.Type, Version: c.Spec.Version, IgnoreErrors: c.Spec.IgnoreErrors}, Scopes: c.Scopes}); diff != "" {
		t.Error(diff)
	}
	if got := c.Fault.Error(); strings.Contains(got, "hunter2") || strings.Count(got, "; ") != 3 {
		t.Errorf("fault %q, want four, without values", got)
	}
}

// TestFaultsAreBounded: a document of nothing but faults makes no log of its size.
func TestFaultsAreBounded(t *testing.T) {
	got, err := ReadFolders(folder(t, map[string]string{"x.yaml": component("x") + "scopes: [" + strings.Repeat("[], ", 1000) + "]\n"}))
	if err != nil || len(got.Components) != 1 {
		t.Fatal(err, got)
	}
	if n := strings.Count(got.Components[0].Fault.Error(), "want a text, found a list"); n != 5 {
		t.Errorf("%d faults are told", n)
	}
}

// TestFaultsAndNames: one that is no good takes no name.
func TestFaultsAndNames(t *testing.T) {
	got, err := ReadFolders(folder(t, map[string]string{"a.yaml": component("a"), "b.yaml": component("a") + "scopes: 1\n"}))
	if err != nil || len(got.Components) != 2 || got.Components[0].Fault != nil || got.Components[1].Fault == nil {
		t.Errorf("%v, components %v", err, got)
	}
}
