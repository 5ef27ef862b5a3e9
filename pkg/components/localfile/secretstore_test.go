package localfile_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/components/localfile"
	"github.com/daprd/daprd/pkg/secrets"
	"github.com/daprd/daprd/pkg/secrets/secretstest"
)

const content = `{"db": {"user": "ada", "hosts": ["a", "b"], "port": 5432.50, "tls": true}, "key": "k", "list": ["x"], "nothing": null}`

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secrets.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadmeManifest(t *testing.T) {
	store, err := localfile.NewSecretStore(t.Context(), componentstest.FromReadme(t, "secretstores.local.file", "secrets.json", file(t, content)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.Secret(t.Context(), "db:user", nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"db:user": "ada"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestSecrets(t *testing.T) {
	tests := map[string]struct {
		properties map[string]string
		want       map[string]map[string]string
	}{
		"single values": {nil, map[string]map[string]string{
			"db:user": {"db:user": "ada"}, "db:hosts:0": {"db:hosts:0": "a"}, "db:hosts:1": {"db:hosts:1": "b"},
			"db:port": {"db:port": "5432.50"}, "db:tls": {"db:tls": "true"}, "key": {"key": "k"}, "list:0": {"list:0": "x"},
			"nothing": {"nothing": ""}}},
		"another separator": {map[string]string{"nestedSeparator": "."}, map[string]map[string]string{
			"db.user": {"db.user": "ada"}, "db.hosts.0": {"db.hosts.0": "a"}, "db.hosts.1": {"db.hosts.1": "b"},
			"db.port": {"db.port": "5432.50"}, "db.tls": {"db.tls": "true"}, "key": {"key": "k"}, "list.0": {"list.0": "x"},
			"nothing": {"nothing": ""}}},
		"an empty separator": {map[string]string{"nestedSeparator": ""}, map[string]map[string]string{
			"db:user": {"db:user": "ada"}, "db:hosts:0": {"db:hosts:0": "a"}, "db:hosts:1": {"db:hosts:1": "b"},
			"db:port": {"db:port": "5432.50"}, "db:tls": {"db:tls": "true"}, "key": {"key": "k"}, "list:0": {"list:0": "x"},
			"nothing": {"nothing": ""}}},
		"several values": {map[string]string{"multiValued": "true"}, map[string]map[string]string{
			"db":  {"user": "ada", "hosts:0": "a", "hosts:1": "b", "port": "5432.50", "tls": "true"},
			"key": {"key": "k"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			properties := map[string]string{"secretsFile": file(t, content)}
			for k, v := range test.properties {
				properties[k] = v
			}
			store, err := localfile.NewSecretStore(t.Context(), componentstest.Spec("secretstores.local.file", properties))
			if err != nil {
				t.Fatal(err)
			}
			secretstest.Run(t, store, secretstest.Options{Known: test.want, Exact: true, Unknown: "absent"})
		})
	}
}

func TestFeatures(t *testing.T) {
	for multiValued, want := range map[string][]string{"true": {"MULTIPLE_KEY_VALUES_PER_SECRET"}, "false": nil} {
		store, err := localfile.NewSecretStore(t.Context(), componentstest.Spec("secretstores.local.file",
			map[string]string{"secretsFile": file(t, content), "multiValued": multiValued}))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, store.(secrets.Featured).Features()); diff != "" {
			t.Errorf("multiValued %s: %s", multiValued, diff)
		}
	}
}

func TestOfTwoValuesWithOnePathTheWrittenOneHolds(t *testing.T) {
	store, err := localfile.NewSecretStore(t.Context(), componentstest.Spec("secretstores.local.file",
		map[string]string{"secretsFile": file(t, `{"a:b": "written", "a": {"b": "nested"}}`)}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.Secret(t.Context(), "a:b", nil)
	if diff := cmp.Diff(map[string]string{"a:b": "written"}, got); err != nil || diff != "" {
		t.Errorf("%v, %s", err, diff)
	}
}

func TestATooLargeFile(t *testing.T) {
	path := file(t, `{"a": "`+strings.Repeat("x", 16<<20)+`"}`)
	_, err := localfile.NewSecretStore(t.Context(), componentstest.Spec("secretstores.local.file", map[string]string{"secretsFile": path}))
	if err == nil || !strings.Contains(err.Error(), path+" is larger than 16 MiB") {
		t.Errorf("error %v", err)
	}
}

func FuzzFile(f *testing.F) {
	for _, seed := range []string{content, `{}`, `{"a": {}}`, `{"a": [[["x"]]]}`, `null`, `{"a": 1e999}`, `{"": {"": ""}}`, "{\"a\": \"\xff\"}"} {
		f.Add(seed, ":", false)
		f.Add(seed, ".", true)
	}
	f.Fuzz(func(t *testing.T, text, separator string, multiValued bool) {
		store, err := localfile.NewSecretStore(t.Context(), componentstest.Spec("secretstores.local.file", map[string]string{
			"secretsFile": file(t, text), "nestedSeparator": separator, "multiValued": strconv.FormatBool(multiValued)}))
		if err != nil {
			return
		}
		all, err := store.All(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range all {
			got, err := store.Secret(t.Context(), name, nil)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%q: %v, %s", name, err, diff)
			}
		}
	})
}

func TestUnusableFiles(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"not JSON":      {"{\n  \"a\": hunter2\n}", "line 2, column 8"},
		"cut off":       {`{"a": "hunter2"`, "it ends too early"},
		"a list":        {`["hunter2"]`, "want one JSON object of secrets"},
		"empty":         {``, "it ends too early"},
		"null":          {`null`, "empty or null"},
		"two documents": {`{} {}`, "something follows"},
		"a brace more":  {`{}}`, "something follows"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := file(t, test.text)
			_, err := localfile.NewSecretStore(t.Context(), componentstest.Spec("secretstores.local.file", map[string]string{"secretsFile": path}))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want one with %q and the path", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
	_, err := localfile.NewSecretStore(t.Context(), componentstest.Spec("secretstores.local.file", map[string]string{"secretsFile": "/no/such/file"}))
	if err == nil || !strings.Contains(err.Error(), "secretsFile: open /no/such/file") {
		t.Errorf("a missing file: %v", err)
	}
	_, err = localfile.NewSecretStore(t.Context(), componentstest.Spec("secretstores.local.file", nil))
	if err == nil || !strings.Contains(err.Error(), "metadata property secretsFile is missing") {
		t.Errorf("no file: %v", err)
	}
}
