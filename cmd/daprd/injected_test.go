package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestInjectedArguments: this daprd takes the arguments of every sidecar that the injector's golden files hold, and names
// those that have no effect yet.
func TestInjectedArguments(t *testing.T) {
	files, err := filepath.Glob("../../pkg/injector/testdata/patches/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	var without []string
	for _, file := range files {
		arguments := injected(t, file)
		cfg, what, err := parse(arguments, func(string) string { return "" }, io.Discard)
		if err != nil || what != actionRun || cfg.AppID == "" || cfg.Mode != "kubernetes" {
			t.Errorf("%s: %v: %v", file, arguments, err)
		}
		without = append(without, cfg.NotInUse...)
	}
	slices.Sort(without)
	t.Logf("without effect: %q", slices.Compact(without))
}

// injected are the arguments of the sidecar in a golden file, behind the name of the program, which an image without an
// entry point needs.
func injected(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, answer, _ := strings.Cut(string(text), "---\n")
	var golden struct {
		Patch []struct {
			Value json.RawMessage
		}
	}
	if err := yaml.Unmarshal([]byte(answer), &golden); err != nil {
		t.Fatal(err)
	}
	for _, operation := range golden.Patch {
		var container struct {
			Name string
			Args []string
		}
		if json.Unmarshal(operation.Value, &container) == nil && container.Name == "daprd" {
			return container.Args[slices.Index(container.Args, "--")+1:]
		}
	}
	t.Fatalf("%s has no sidecar", file)
	return nil
}
