package runtime

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/resiliency"
)

// TestBadResiliency: one that cannot be used is left out, a bad change leaves what was in force, and the others are heeded.
func TestBadResiliency(t *testing.T) {
	var out bytes.Buffer
	log := logrus.New()
	log.SetOutput(&out)
	r := &Runtime{cfg: Config{AppID: "app"}, log: logrus.NewEntry(log), policies: resiliency.New()}
	heed := func(text string) {
		t.Helper()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		resources, err := config.ReadFolders(dir)
		if err != nil || len(resources.Warnings) > 0 {
			t.Fatal(err, resources.Warnings)
		}
		if err := r.heed(r.resiliencies(resources)); err != nil {
			t.Fatal(err)
		}
	}
	document := func(name, app, timeout string) string {
		return "---\napiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {name: " + name + "}\n" +
			"spec: {policies: {timeouts: {" + name + ": " + timeout + "}}, targets: {apps: {" + app + ": {timeout: " + name + "}}}}\n"
	}
	state := func() []string {
		all := r.policies.Names()
		for _, app := range []string{"cart", "list", "menu"} {
			if r.policies.App(app) != nil {
				all = append(all[:len(all):len(all)], app)
			}
		}
		return all
	}
	heed(document("a", "cart", "1s") + document("b", "list", "soon"))
	if diff := cmp.Diff([]string{"a", "cart"}, state()); diff != "" {
		t.Error(diff)
	}
	heed(document("a", "menu", "later") + document("b", "list", "2s"))
	if diff := cmp.Diff([]string{"a", "b", "cart", "list"}, state()); diff != "" {
		t.Error(diff)
	}
	heed("")
	if diff := cmp.Diff([]string(nil), state()); diff != "" {
		t.Error(diff)
	}
	for _, line := range []string{
		"the Resiliency b is left out: ", "r.yaml (document 2, line 6): spec.policies.timeouts.b: line 10: want a duration",
		"the change of the Resiliency a is refused, what it said before stays: ", "r.yaml (document 1, line 1): spec.policies.timeouts.a: line 5: want a duration",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("no %s in\n%s", line, &out)
		}
	}
}
