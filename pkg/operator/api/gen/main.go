// Command gen makes the CRDs of the chart of the Go types below pkg/operator/api. Run it from the module's root:
//
//	go run ./pkg/operator/api/gen
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	root := flag.String("root", ".", "folder of the module")
	out := flag.String("out", "charts/daprd/crds", "folder that receives the definitions")
	flag.Parse()
	if err := generate(*root, *out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// generate writes a file for each kind into out.
func generate(root, out string) error {
	raw, err := os.MkdirTemp("", "crds")
	if err != nil {
		return err
	}
	defer os.RemoveAll(raw)
	command := exec.Command("go", "tool", "-modfile=tools/go.mod", "controller-gen", "crd", "paths=./pkg/operator/api/...", "output:crd:dir="+raw)
	command.Dir = root
	if text, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("controller-gen: %w\n%s", err, text)
	}
	files, err := filepath.Glob(filepath.Join(raw, "*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(filepath.Base(file), "dapr.io_")
		if name == "subscriptions.yaml" {
			if text, err = convertible(text); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(out, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// conversion has the API server ask the operator for the other version of an object. The namespace is that of most
// installations; the operator puts its own there, and the roots by which the API server knows it.
const conversion = `  conversion:
    strategy: Webhook
    webhook:
      clientConfig:
        service:
          name: dapr-webhook
          namespace: dapr-system
          path: /convert
      conversionReviewVersions:
      - v1
`

// convertible adds the conversion, which controller-gen has no marker for.
func convertible(definition []byte) ([]byte, error) {
	before, after, found := bytes.Cut(definition, []byte("\nspec:\n"))
	if !found {
		return nil, fmt.Errorf("the definition has no spec:\n%s", definition)
	}
	return bytes.Join([][]byte{before, []byte("\nspec:\n" + conversion), after}, nil), nil
}
