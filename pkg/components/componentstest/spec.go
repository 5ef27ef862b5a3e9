// Package componentstest makes the specs that component tests start from: of properties, or of the manifest
// in a component's README, so that the README stays true.
package componentstest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/logging"
)

// Spec is a component of the type with the properties.
func Spec(kind string, properties map[string]string) *components.Spec {
	return &components.Spec{Name: "test", Type: kind, Version: "v1", Properties: properties, AppID: "app",
		Log: logging.Discard().Scope("dapr.contrib")}
}

// FromReadme is the first component of the type among the YAML blocks of README.md in the working folder.
// Each replacement is a pair of texts: old, new.
func FromReadme(t testing.TB, kind string, replacements ...string) *components.Spec {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	manifest := strings.NewReplacer(replacements...).Replace(strings.Join(blocks(string(text)), "\n---\n"))
	if err := os.WriteFile(filepath.Join(dir, "readme.yaml"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	resources, err := config.ReadFolders(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(resources.Warnings) > 0 {
		t.Fatalf("the manifests of README.md: %v", resources.Warnings)
	}
	for _, c := range resources.Components {
		if c.Spec.Type != kind {
			continue
		}
		properties := map[string]string{}
		for _, p := range c.Spec.Metadata {
			properties[p.Name] = string(p.Value)
		}
		return Spec(kind, properties)
	}
	t.Fatalf("README.md has no manifest of type %s", kind)
	return nil
}

// blocks are the contents of the fenced YAML blocks.
func blocks(text string) (found []string) {
	for {
		_, rest, ok := strings.Cut(text, "```yaml\n")
		if !ok {
			return found
		}
		block, after, _ := strings.Cut(rest, "```")
		found, text = append(found, block), after
	}
}
