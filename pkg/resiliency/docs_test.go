package resiliency_test

import (
	"os"
	"strings"
	"testing"

	"github.com/daprd/daprd/pkg/resiliency"
)

// TestDocumentation: the example of the documentation can be used as it stands.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/resiliency.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	resources := read(t, example)
	if !ok || len(resources) != 1 {
		t.Fatalf("%d resources", len(resources))
	}
	p := resiliency.New()
	if warnings, err := p.Set(resources...); err != nil || len(warnings) > 0 {
		t.Error(err, warnings)
	}
	if p.App("cart") == nil || p.App("other") != nil {
		t.Error("the targets are not those of the example")
	}
}
