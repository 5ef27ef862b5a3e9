// Package test holds the tests that look at the whole sidecar or the whole tree.
package test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/daprd/daprd/"

// levels is the law of design: a package may import packages of lower rows only. A row names packages by
// their path below the module; "…/" at the end stands for everything below.
var levels = [][]string{
	0:  {"pkg/apierr", "pkg/config", "pkg/jsontext", "pkg/ready", "pkg/listen", "pkg/logging", "pkg/metrics", "pkg/proto/…", "pkg/version"},
	1:  {"pkg/cloudevent", "pkg/tracing", "pkg/resiliency", "pkg/security", "pkg/nameresolution/…", "pkg/cluster"},
	2:  {"pkg/middleware", "pkg/process"},
	3:  {"pkg/channel", "pkg/sentry", "pkg/injector", "pkg/operator/…", "pkg/placement/…"},
	4:  {"pkg/state", "pkg/pubsub", "pkg/secrets", "pkg/configuration", "pkg/lock", "pkg/crypto", "pkg/messaging"},
	5:  {"pkg/bindings", "pkg/actors/…", "pkg/outbox"},
	6:  {"pkg/metadata"},
	7:  {"pkg/components", "pkg/api"},
	8:  {"pkg/components/…", "pkg/http", "pkg/grpc"},
	9:  {"pkg/components/catalogue"},
	10: {"pkg/runtime"},
	11: {"cmd/…", "pkg/runtime/runtimetest", "test/…", "bench/…", "examples/…"},
}

// family lists packages that may import each other though their level is one: a tree of its own.
var families = []string{"pkg/operator", "pkg/placement", "pkg/proto", "pkg/actors", "pkg/nameresolution", "bench", "cmd", "examples", "test"}

// TestImports holds the import law: down only, never sideways.
func TestImports(t *testing.T) {
	for path, imports := range packages(t) {
		level, ok := levelOf(path)
		if !ok {
			t.Errorf("%s stands on no level: add it to the table in this test and in docs/architecture.md", path)
			continue
		}
		for _, imported := range imports {
			below, ok := levelOf(imported)
			if ok && below >= level && !sameFamily(path, imported) {
				t.Errorf("%s (level %d) imports %s (level %d): only lower levels may be imported", path, level, imported, below)
			}
		}
	}
}

// TestRuntimeKnowsNoTechnology: the runtime is given the catalogue's set. The client of the operator is no technology of
// a component: it gives the resources themselves.
func TestRuntimeKnowsNoTechnology(t *testing.T) {
	for _, imported := range packages(t)["pkg/runtime"] {
		if strings.HasPrefix(imported, "pkg/components/") && imported != "pkg/components/operator" {
			t.Errorf("pkg/runtime imports %s", imported)
		}
	}
}

func levelOf(path string) (level int, found bool) {
	best := -1
	for l, names := range levels {
		for _, name := range names {
			below, tree := strings.CutSuffix(name, "/…")
			inside := tree && (path == below || strings.HasPrefix(path, below+"/"))
			weight := len(name)
			if !tree && path == name {
				weight += 1000 // a name of its own beats any tree
			} else if !inside {
				continue
			}
			if weight > best {
				level, found, best = l, true, weight
			}
		}
	}
	if strings.HasSuffix(path, "test") && strings.HasPrefix(path, "pkg/") {
		return 11, true // conformance suites and test helpers
	}
	return level, found
}

func sameFamily(a, b string) bool {
	for _, family := range families {
		if (a == family || strings.HasPrefix(a, family+"/")) && (b == family || strings.HasPrefix(b, family+"/")) {
			return true
		}
	}
	return false
}

// packages maps every package below the module to the packages of the module that it imports, tests apart.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "../...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	found := map[string][]string{}
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatal(err)
		}
		path := strings.TrimPrefix(p.ImportPath, module)
		found[path] = nil
		for _, imported := range p.Imports {
			if below, ok := strings.CutPrefix(imported, module); ok {
				found[path] = append(found[path], below)
			}
		}
	}
}
