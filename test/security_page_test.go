package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSecurityPage: every test that a page names as the keeper of a promise exists, in the package that the page names, where it
// names one; and each promise of the page on security has one.
func TestSecurityPage(t *testing.T) {
	tests := testsOf(t)
	pages, err := filepath.Glob("../docs/*.md")
	decisions, err2 := filepath.Glob("../docs/decisions/*.md")
	if err != nil || err2 != nil || len(pages) < 5 || len(decisions) < 5 {
		t.Fatal(pages, decisions, err, err2)
	}
	for _, page := range append(pages, decisions...) {
		text := readText(t, page)
		for _, name := range testName.FindAllStringSubmatch(text, -1) {
			if len(tests[name[1]]) == 0 {
				t.Errorf("%s names %s, which does not exist", page, name[1])
			}
		}
	}

	const page = "../docs/security.md"
	kept := false
	for n, line := range strings.Split(readText(t, page), "\n") {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		switch {
		case !strings.HasPrefix(line, "|"):
			kept = false
		case cells[len(cells)-1] == "kept by" || cells[len(cells)-1] == "here":
			kept = cells[len(cells)-1] == "kept by"
		case kept && !strings.HasPrefix(line, "|---"):
			check(t, tests, page, n+1, cells[len(cells)-1])
		}
	}
}

// check wants tests in the cell, and those that follow the name of a package in it.
func check(t *testing.T, tests map[string][]string, page string, line int, cell string) {
	t.Helper()
	folder, named := "", 0
	for _, word := range quoted.FindAllStringSubmatch(cell, -1) {
		switch {
		case testName.MatchString("`" + word[1] + "`"):
			named++
			if folder != "" && !slices.Contains(tests[word[1]], folder) {
				t.Errorf("%s:%d: %s is in %v, not in %s", page, line, word[1], tests[word[1]], folder)
			}
		case word[1] == "test" || strings.HasPrefix(word[1], "pkg/") || strings.HasPrefix(word[1], "cmd/") || strings.HasPrefix(word[1], "test/"):
			folder = word[1]
		}
	}
	if named == 0 {
		t.Errorf("%s:%d names no test: %s", page, line, cell)
	}
}

var (
	testName = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9_]*)`")
	quoted   = regexp.MustCompile("`([^`]+)`")
)

// testsOf are the tests of the module, with the folders that they are in.
func testsOf(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folder := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../")
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && testName.MatchString("`"+f.Name.Name+"`") {
				found[f.Name.Name] = append(found[f.Name.Name], folder)
			}
		}
		return nil
	})
	if err != nil || len(found) < 100 {
		t.Fatalf("%d tests, %v", len(found), err)
	}
	return found
}
