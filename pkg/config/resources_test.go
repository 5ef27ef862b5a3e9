package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// folder makes a folder of files.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// message is that of the one line in a captured log.
func message(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile(`msg=("(?:[^"\\]|\\.)*")`).FindStringSubmatch(string(text))
	msg, err := strconv.Unquote(quoted[1])
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

const fullComponent = `# a component with everything
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: statestore
  namespace: production
  labels: {team: a}
spec:
  type: state.redis
  version: v1
  ignoreErrors: yes
  initTimeout: 30s
  metadata:
  - name: redisHost
    value: localhost:6379
  - name: redisPassword
    secretKeyRef:
      name: redis
      key: password
  - name: redisDB
    value: 5
  - name: enableTLS
    value: no
  - name: nested
    value: {a: [1, "x"]}
  - name: quoted
    value: '"kept"'
  - {name: fromEnv, envRef: SETTING}
  - name: empty
auth:
  secretStore: vault
scopes: [app1, app2]
unknown: {key: 1}
`

const fullEndpoint = `apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: github}
spec:
  baseUrl: https://api.github.com
  headers:
  - name: Accept
    value: text/plain
  - name: Authorization
    secretKeyRef: {name: token, key: token}
  clientTLS:
    rootCA: {secretKeyRef: {name: ca}}
    certificate: {value: PEM}
    privateKey: {value: KEY}
    renegotiation: Never
auth: {secretStore: vault}
scopes: [app1]
`

func TestReadFolders(t *testing.T) {
	first := folder(t, map[string]string{
		"b.yaml": fullComponent + "---\n" + fullEndpoint,
		"a.yml":  "---\n---\n# nothing\n--- # next\n" + component("first"),
	})
	second := folder(t, map[string]string{"a.yaml": "%YAML 1.1\n---\r\n" + strings.ReplaceAll(component("third"), "\n", "\r\n")})
	if err := os.Mkdir(filepath.Join(first, "folder.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := ReadFolders(first, second, first+"/")
	if err != nil {
		t.Fatal(err)
	}
	plain := func(name string, origin Origin) Component {
		return Component{Meta: Meta{Name: name}, Spec: ComponentSpec{Type: "state.in-memory", Version: "v1"}, Origin: origin}
	}
	b := filepath.Join(first, "b.yaml")
	want := &Resources{
		Components: []Component{
			plain("first", Origin{filepath.Join(first, "a.yml"), 1, 4}),
			{
				Meta: Meta{Name: "statestore", Namespace: "production"},
				Spec: ComponentSpec{Type: "state.redis", Version: "v1", IgnoreErrors: true, InitTimeout: "30s", Metadata: []Property{
					{Name: "redisHost", Value: "localhost:6379"},
					{Name: "redisPassword", SecretKeyRef: SecretKeyRef{"redis", "password"}},
					{Name: "redisDB", Value: "5"}, {Name: "enableTLS", Value: "false"}, {Name: "nested", Value: `{"a":[1,"x"]}`},
					{Name: "quoted", Value: `"kept"`}, {Name: "fromEnv", EnvRef: "SETTING"}, {Name: "empty"},
				}},
				Auth: Auth{"vault"}, Scopes: []string{"app1", "app2"}, Origin: Origin{b, 1, 1},
			},
			plain("third", Origin{filepath.Join(second, "a.yaml"), 1, 2}),
		},
		HTTPEndpoints: []HTTPEndpoint{{
			Meta: Meta{Name: "github"},
			Spec: HTTPEndpointSpec{BaseURL: "https://api.github.com",
				Headers: []Property{{Name: "Accept", Value: "text/plain"}, {Name: "Authorization", SecretKeyRef: SecretKeyRef{"token", "token"}}},
				ClientTLS: &ClientTLS{RootCA: Property{SecretKeyRef: SecretKeyRef{Name: "ca"}}, Certificate: Property{Value: "PEM"},
					PrivateKey: Property{Value: "KEY"}, Renegotiation: "Never"}},
			Auth: Auth{"vault"}, Scopes: []string{"app1"}, Origin: Origin{b, 2, 34},
		}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

func component(name string) string {
	return "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: " + name + "\nspec:\n  type: state.in-memory\n  version: v1\n"
}

// TestPassedOver: what is kept is always the component "good".
func TestPassedOver(t *testing.T) {
	tests := map[string]struct {
		file, text string
		want       []string // of the warnings, in order
	}{
		"other kind":        {"x.yaml", "apiVersion: dapr.io/v1alpha1\nkind: Nothing\nmetadata: {name: x}\n", nil},
		"other owner":       {"x.yaml", "apiVersion: apps/v1\nkind: Component\nmetadata: {name: x}\n", nil},
		"no kind":           {"x.yaml", "a: b\n", nil},
		"a list":            {"x.yaml", "- a\n", []string{"x.yaml (document 1, line 1) : line 1: want a mapping with the keys apiVersion, kind, metadata, found a list"}},
		"a text":            {"x.yaml", "hello\n", []string{"line 1: want a mapping with the keys apiVersion, kind, metadata, found a text"}},
		"a Configuration":   {"x.yaml", "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: x}\n", nil},
		"nothing":           {"x.yaml", "", nil},
		"comments":          {"x.yaml", "# a\n---\n# b\n", nil},
		"a kind of later":   {"x.yaml", "apiVersion: dapr.io/v2alpha1\nkind: MCPServer\nmetadata: {name: s}\n", []string{"x.yaml (document 1, line 1): the MCPServer s is passed over: this daprd does not have that kind yet"}},
		"another version":   {"x.yaml", "apiVersion: dapr.io/v1\nkind: Component\nmetadata: {name: x}\n", []string{"the Component x is passed over: its apiVersion is dapr.io/v1, want dapr.io/v1alpha1"}},
		"not YAML":          {"x.yaml", "a: b\n---\nkind: Component\n metadata: [\n", []string{"x.yaml (document 2, line 2) : yaml: line 4: mapping values are not allowed in this context; the document is passed over"}},
		"other suffix":      {"x.yaml.bak", "kind: Component\n", []string{"A non-YAML Component file DIR/x.yaml.bak was detected, it will not be loaded"}},
		"suffix in case":    {"x.YAML", component("x"), []string{"A non-YAML Component file DIR/x.YAML was detected, it will not be loaded"}},
		"too large":         {"x.yaml", strings.Repeat("#", maxFile+1), []string{"daprd load components error when reading file DIR/x.yaml : it is larger than 16 MiB"}},
		"binary":            {"x.yaml", "\x00\xff\xfe", []string{"the document is passed over"}},
		"alias of nothing":  {"x.yaml", "apiVersion: *a\n", []string{"unknown anchor 'a' referenced"}},
		"UTF-16":            {"x.yaml", "\xff\xfek\x00i\x00", []string{"the document is passed over"}},
		"kind that is none": {"x.yaml", "apiVersion: dapr.io/v1alpha1\nkind: [Component]\n", []string{"x.yaml (document 1, line 1) : kind: line 2: want a text, found a list; the document is passed over"}},
		"endpoint of no use": {"x.yaml", "a: b\n---\n" + strings.Replace(fullEndpoint, "scopes: [app1]", "scopes: {}", 1),
			[]string{"x.yaml (document 2, line 2) : scopes: line 19: want a list, each entry a text, found a mapping; the HTTPEndpoint github is passed over"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, map[string]string{test.file: test.text, "good.yaml": component("good")})
			got, err := ReadFolders(dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Components) != 1 || got.Components[0].Meta.Name != "good" || len(got.HTTPEndpoints) != 0 {
				t.Errorf("components %v, endpoints %v", got.Components, got.HTTPEndpoints)
			}
			if len(got.Warnings) != len(test.want) {
				t.Fatalf("warnings %q, want %q", got.Warnings, test.want)
			}
			for i, want := range test.want {
				if warning := strings.Join(strings.Fields(got.Warnings[i]), " "); !strings.Contains(warning, strings.ReplaceAll(want, "DIR", dir)) {
					t.Errorf("warning %q, want %q", warning, want)
				}
				if strings.Contains(got.Warnings[i], "\n") {
					t.Errorf("a warning of several lines: %q", got.Warnings[i])
				}
			}
		})
	}
}

func TestTwiceTheSameKey(t *testing.T) {
	dir := folder(t, map[string]string{"x.yaml": "---\n" + component("x") + "scopes: [a]\nscopes: [b]\n"})
	got, err := ReadFolders(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Components) != 1 || !cmp.Equal(got.Components[0].Scopes, []string{"b"}) {
		t.Errorf("components %v", got.Components)
	}
	want := []string{filepath.Join(dir, "x.yaml") + " (document 1, line 1): the key scopes (line 10) stands twice in the Component x; the last one holds"}
	if diff := cmp.Diff(want, got.Warnings); diff != "" {
		t.Error(diff)
	}
}

func TestNames(t *testing.T) {
	endpoint := strings.Replace(fullEndpoint, "github", "a", 1)
	in := func(text, namespace, scopes string) string {
		return strings.Replace(text, "metadata:\n", "metadata:\n  namespace: "+namespace+"\n", 1) + "scopes: [" + scopes + "]\n"
	}
	tests := map[string]struct {
		files map[string]string
		want  string // of the error
	}{
		"different names":     {map[string]string{"a.yaml": component("a"), "b.yaml": component("b")}, ""},
		"different kinds":     {map[string]string{"a.yaml": component("a"), "b.yaml": endpoint}, ""},
		"one file":            {map[string]string{"a.yaml": component("a") + "---\n" + component("a")}, "a.yaml (document 2, line 8) and "},
		"two files":           {map[string]string{"a.yaml": component("a"), "b.yaml": component("a")}, "b.yaml (document 1, line 1) and "},
		"endpoints":           {map[string]string{"a.yaml": endpoint, "b.yaml": endpoint}, "duplicate definition of HTTPEndpoint name a with existing a: "},
		"different apps":      {map[string]string{"a.yaml": in(component("a"), "", "x, y"), "b.yaml": in(component("a"), "", "z")}, ""},
		"an app in both":      {map[string]string{"a.yaml": in(component("a"), "", "x, y"), "b.yaml": in(component("a"), "", "z, y")}, "duplicate definition of Component name a"},
		"one for all":         {map[string]string{"a.yaml": in(component("a"), "", ""), "b.yaml": in(component("a"), "", "z")}, "duplicate definition of Component name a"},
		"namespaces":          {map[string]string{"a.yaml": in(component("a"), "n", ""), "b.yaml": in(component("a"), "m", "")}, ""},
		"namespace and none":  {map[string]string{"a.yaml": in(component("a"), "n", ""), "b.yaml": in(component("a"), "", "")}, "duplicate definition of Component name a"},
		"third with first":    {map[string]string{"a.yaml": in(component("a"), "", "x"), "b.yaml": in(component("a"), "", "y"), "c.yaml": in(component("a"), "", "x")}, "c.yaml (document 1, line 1) and "},
		"without names":       {map[string]string{"a.yaml": component(""), "b.yaml": component("")}, ""},
		"one that is no good": {map[string]string{"a.yaml": component("a"), "b.yaml": component("a") + "scopes: 1\n"}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ReadFolders(folder(t, test.files))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestMissingFolder(t *testing.T) {
	for _, path := range []string{"/nonexistent/dir", filepath.Join(folder(t, map[string]string{"file": ""}), "file")} {
		_, err := ReadFolders(t.TempDir(), path)
		if err == nil || !strings.Contains(err.Error(), "read the resources folder "+path+": open "+path+": no") && !strings.Contains(err.Error(), "not a directory") {
			t.Errorf("error %v", err)
		}
	}
}

// TestMessages holds the texts that users of Dapr know against its logs.
func TestMessages(t *testing.T) {
	dir := folder(t, map[string]string{"st.yaml": "apiVersion: dapr.io/v1alpha1\nkind: Component\n metadata: [\n"})
	got, err := ReadFolders(dir)
	if err != nil || len(got.Warnings) != 1 {
		t.Fatalf("%v, warnings %q", err, got.Warnings)
	}
	where, cause, _ := strings.Cut(message(t, "bad-yaml-1.7.1.txt"), " : error converting YAML to JSON: ")
	where = strings.Replace(where, "DIR/s9", dir, 1)
	if warning := got.Warnings[0]; !strings.HasPrefix(warning, where+" (document 1, line 1) : "+cause) {
		t.Errorf("warning %q, want %q and %q", warning, where, cause)
	}

	dir = folder(t, map[string]string{"a.yaml": strings.Replace(component("st"), "in-memory", "redis", 1), "b.yaml": component("st")})
	_, err = ReadFolders(dir)
	_, want, _ := strings.Cut(message(t, "duplicate-name-1.18.3.txt"), "failed to load components: ")
	if err == nil || !strings.HasPrefix(err.Error(), want+": "+dir) {
		t.Errorf("error %v, want %q", err, want)
	}

	_, err = ReadConfiguration("/nonexistent/c.yaml")
	if want := message(t, "config-missing-1.7.1.txt"); err == nil || !strings.HasPrefix(err.Error(), want+"; ") {
		t.Errorf("error %v, want %q", err, want)
	}
}

// FuzzManifests: a file of any content is read or warned of, and what is read can be used.
func FuzzManifests(f *testing.F) {
	for _, seed := range []string{fullComponent, fullEndpoint, fullComponent + "---\n" + fullEndpoint, component("a") + "scopes: [a]\nscopes: [b]\n", "---\n---\n", "- a",
		component("a") + "scopes: &a [*a]\n", component("a") + "<<: {scopes: a, spec: [b]}\n", component("a") + "  metadata: &a\n  - value: *a\n",
		"a: &a [*a]", "apiVersion: dapr.io/v1alpha1\nkind: Component\n metadata: [\n", "%YAML 1.1\n---\na: !!binary '*'\n", "? [a]\n: b\n", "<<: {kind: Component}\n",
		"apiVersion: dapr.io/v2alpha1\nkind: Subscription\n", "\xef\xbb\xbf---\r\nkind: x\r\n...\r\n--- x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := &Resources{}
		documents := split("file", []byte(text))
		for i, d := range documents {
			if d.origin.Document != i+1 || d.origin.Line < 1 || d.origin.Line > strings.Count(text, "\n")+1 {
				t.Errorf("document %d of %q is at %s", i+1, text, d.origin)
			}
			r.read(d)
		}
		if len(r.Components)+len(r.HTTPEndpoints) > len(documents) {
			t.Errorf("%d documents make %d resources", len(documents), len(r.Components)+len(r.HTTPEndpoints))
		}
		told := strings.Join(r.Warnings, " ")
		for _, c := range r.Components {
			if c.InitLimit() <= 0 || c.Origin.File == "" || c.Fault == nil && (c.Meta.Name == "" || c.Spec.Type == "") {
				t.Errorf("component %+v", c)
			}
			if c.Fault != nil {
				told += c.Fault.Error()
			}
		}
		if strings.Contains(told, "into config.") || strings.Contains(told, "into []config.") {
			t.Errorf("%q is told of with names of Go types: %s", text, told)
		}
		_ = r.checkNames()
	})
}

// TestFaultsHideValues: a value in a place of another form may be a secret all the same.
func TestFaultsHideValues(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.yaml": component("a") + "  metadata: hunter2\n", "b.yaml": "hunter2", "c.yaml": component("c") + "  metadata:\n  - {name: x, secretKeyRef: hunter2}\n",
		"d.yaml": component("d") + "  metadata:\n  - hunter2\n", "e.yaml": component("e") + "  ignoreErrors: hunter2\n",
		"f.yaml": strings.Replace(fullEndpoint, "  headers:\n", "  headers:\n  - hunter2\n", 1), "g.yaml": "apiVersion: dapr.io/v1alpha1\nkind: {hunter2: hunter2}\n"})
	got, err := ReadFolders(dir)
	if err != nil || len(got.Warnings) != 3 || len(got.Components) != 4 {
		t.Fatalf("%v, components %v, warnings %q", err, got.Components, got.Warnings)
	}
	told := strings.Join(got.Warnings, "\n")
	for _, c := range got.Components {
		told += c.Fault.Error()
	}
	if strings.Contains(told, "hunter2") {
		t.Errorf("told %s", told)
	}
}

// TestMarks: a byte order mark may begin a file, whose lines may end in any way.
func TestMarks(t *testing.T) {
	for name, text := range map[string]string{
		"mark": "\ufeff" + component("c"), "mark and separator": "\ufeff---\n" + component("c"), "CRLF": strings.ReplaceAll(component("c"), "\n", "\r\n"),
		"all of it":   "\ufeff---\r\n" + strings.ReplaceAll(component("c"), "\n", "\r\n") + "--- # end\r\n",
		"no last end": strings.TrimSuffix(component("c"), "\n"), "document end": component("c") + "...\n", "content behind it": "--- {apiVersion: dapr.io/v1alpha1, kind: Component, metadata: {name: c}, spec: {type: state.in-memory, version: v1}}\n",
		"tag": "--- !!map\n" + component("c"), "separator in a text": component("c") + "  metadata:\n  - name: a\n    value: |\n      ---\n      b\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ReadFolders(folder(t, map[string]string{"c.yaml": text}))
			if err != nil || len(got.Warnings) != 0 || len(got.Components) != 1 {
				t.Fatalf("%v, components %v, warnings %q", err, got.Components, got.Warnings)
			}
			if c := got.Components[0]; c.Meta.Name != "c" || c.Spec.Type != "state.in-memory" || c.Fault != nil || c.Origin.Document != 1 || c.Origin.Line != 1 {
				t.Errorf("component %+v", c)
			}
		})
	}
}

// TestLinks: Kubernetes mounts files as links into folders whose names begin with two dots.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "..data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "c.yaml"), []byte(component("c")), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"c.yaml": filepath.Join("..data", "c.yaml"), "folder.yaml": data, "gone.yaml": "nowhere", "loop.yaml": "loop.yaml"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadFolders(dir)
	if err != nil || len(got.Components) != 1 || got.Components[0].Origin.File != filepath.Join(dir, "c.yaml") {
		t.Errorf("%v, components %v", err, got.Components)
	}
	if len(got.Warnings) != 2 || !strings.Contains(got.Warnings[0], "gone.yaml") || !strings.Contains(got.Warnings[1], "loop.yaml") {
		t.Errorf("warnings %q", got.Warnings)
	}
}
