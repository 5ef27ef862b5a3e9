package test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/components/catalogue"
	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// fence is a fenced block of a Markdown file.
type fence struct{ language, text string }

// fences are the fenced blocks of a Markdown text, in order.
func fences(text string) (found []fence) {
	var inside *fence
	for line := range strings.Lines(text) {
		language, edge := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case edge && inside == nil:
			inside = &fence{language: language}
		case edge:
			found, inside = append(found, *inside), nil
		case inside != nil:
			inside.text += line
		}
	}
	return found
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// readmes are the front page and the pages of the technologies.
func readmes(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("../pkg/components/*/README.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("%v %v", pages, err)
	}
	resolvers, err := filepath.Glob("../pkg/nameresolution/*/README.md")
	if err != nil || len(resolvers) == 0 {
		t.Fatalf("%v %v", resolvers, err)
	}
	return append(append(pages, resolvers...), "../README.md")
}

// filled is a manifest with the address of a server and a folder that are there.
func (f fence) filled(redis *redistest.Server, folder string) string {
	const keys = `'{"keys":[{"kty":"oct","kid":"k","k":"MEijopFTCJ_nokDlTPGxnsvSn3jP-R5Glv4Dwl25CrQ"}]}'`
	return strings.NewReplacer("localhost:6379", redis.Address, "/etc/keys", folder, "https://example.com/.well-known/jwks.json", keys).Replace(f.text)
}

// TestManifestsOfReadmes: every manifest on every page can be used as it stands, in a sidecar that has what
// it asks for.
func TestManifestsOfReadmes(t *testing.T) {
	redis, sockets := redistest.Start(t), socketsFolder(t)
	startComponent(t, filepath.Join(sockets, "vault.sock"))
	for _, page := range readmes(t) {
		text := readText(t, page)
		for i, block := range fences(text) {
			if block.language != "yaml" {
				continue
			}
			t.Run(filepath.Base(filepath.Dir(page))+"/"+string(rune('a'+i)), func(t *testing.T) {
				t.Chdir(t.TempDir())
				runtimetest.Isolate(t)
				for name, text := range map[string]string{
					"secrets.json": `{"db":{"user":"ada"},"redisPassword":"","key":"k"}`,
					"kubeconfig":   `{current-context: c, contexts: [{name: c, context: {cluster: c}}], clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]}`,
				} {
					if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				manifest := block.filled(redis, sockets)
				if isConfiguration(manifest) {
					s := runtimetest.Start(t, "readme", runtimetest.Configuration(t, manifest))
					if strings.Contains(s.Log.String(), "failed to init name resolution") {
						t.Error("its name resolution cannot be used")
					}
					return
				}
				s := runtimetest.Start(t, "readme", runtimetest.Manifests(t, manifest), func(c *runtime.Config) { c.SocketsFolder = sockets })
				resources := read(t, manifest)
				info := transports(t, s)[0].metadata(t.Context()).Info
				if len(info.Components) != len(resources.Components) || len(info.HTTPEndpoints) != len(resources.HTTPEndpoints) ||
					len(resources.Components)+len(resources.HTTPEndpoints) == 0 {
					t.Errorf("of %+v the sidecar has %v and %v", resources, info.Components, info.HTTPEndpoints)
				}
				if log := s.Log.String(); strings.Contains(log, "level=warning") && strings.Contains(log, "metadata property") {
					t.Error("it warns of a property")
				}
			})
		}
	}
}

func isConfiguration(manifest string) bool {
	return regexp.MustCompile(`(?m)^kind: Configuration`).MatchString(manifest)
}

// read takes a text of manifests, which has to be free of complaints.
func read(t *testing.T, text string) *config.Resources {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "all.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	resources, err := config.ReadFolders(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(resources.Warnings) > 0 {
		t.Errorf("%v", resources.Warnings)
	}
	return resources
}

// TestEveryTypeIsDescribed: each component type of the catalogue has a manifest on a page, or is another name
// of one that has, and the front page knows it.
func TestEveryTypeIsDescribed(t *testing.T) {
	set := catalogue.All()
	types := slices.Concat(set.State.Types(), set.SecretStore.Types(), set.PubSub.Types(), set.InputBinding.Types(), set.OutputBinding.Types(),
		set.Configuration.Types(), set.Lock.Types(), set.Crypto.Types(), set.Middleware.Types())
	if len(types) < 25 {
		t.Fatalf("types: %v", types)
	}
	middleware, err := filepath.Glob("../pkg/components/middleware/*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	for _, page := range append(middleware, readmes(t)...) {
		text := readText(t, page)
		if page == "../README.md" {
			continue
		}
		for _, block := range fences(text) {
			if block.language != "yaml" || isConfiguration(block.text) {
				continue
			}
			for _, c := range read(t, block.text).Components {
				shown = append(shown, c.Spec.Type)
			}
		}
	}
	front := readText(t, "../README.md")
	for _, kind := range types {
		if !slices.ContainsFunc(shown, func(other string) bool { return sameType(t, set, kind, other) }) {
			t.Errorf("%s has no manifest in any pkg/components/*/README.md, under no name", kind)
		}
		if slices.Contains(shown, kind) && !strings.Contains(front, "`"+kind+"`") {
			t.Errorf("%s is not in the README's table", kind)
		}
	}
	for _, resolver := range set.Resolver.Types() {
		if !strings.Contains(front, "`"+resolver+"`") {
			t.Errorf("the name resolution %s is not in the README", resolver)
		}
	}
}

// sameType says whether two names are those of one type: the same factory makes them.
func sameType(t *testing.T, set components.Set, one, other string) bool {
	t.Helper()
	maker := func(kind string) uintptr {
		switch {
		case strings.HasPrefix(kind, "state."):
			return pointer(set.State.Factory(kind, "v1"))
		case strings.HasPrefix(kind, "secretstores."):
			return pointer(set.SecretStore.Factory(kind, "v1"))
		}
		return 0
	}
	return one == other || maker(one) != 0 && maker(one) == maker(other)
}

func pointer(factory any, err error) uintptr {
	if err != nil {
		return 0
	}
	return reflect.ValueOf(factory).Pointer()
}

// TestLinksOfReadmes: what the pages of this repository link to is there.
func TestLinksOfReadmes(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, page := range append(readmes(t), "../docs/architecture.md", "../docs/decisions/README.md") {
		for _, found := range link.FindAllStringSubmatch(readText(t, page), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), found[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, found[1], err)
			}
		}
	}
}

// TestCommandsOfReadme does what the front page says by hand: it writes its manifests, starts its sidecars
// with its flags, and runs its curl lines. Only ports differ.
func TestCommandsOfReadme(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("curl is not installed")
		}
		t.Skip("curl is not installed")
	}
	text := readText(t, "../README.md")
	if _, err := binary(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	app := startApplication(t, saw("readme"))
	m := newMesh(t)
	real := map[string]string{} // addresses of the page to ours
	calls, sidecars := 0, 0
	for _, block := range fences(text) {
		if block.language == "yaml" {
			name, ok := strings.CutPrefix(strings.TrimSpace(strings.SplitN(block.text, "\n", 2)[0]), "# ")
			if !ok || !filepath.IsLocal(name) {
				continue // not a file to write
			}
			if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(block.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if block.language != "sh" {
			continue
		}
		for line := range strings.Lines(block.text) {
			command, _, _ := strings.Cut(line, " #")
			command = strings.TrimSpace(command)
			switch {
			case strings.HasPrefix(command, "bin/daprd --app-id"):
				sidecars++
				m.startAsWritten(t, strings.Fields(command)[1:], app, real)
			case strings.HasPrefix(command, "curl "):
				calls++
				runCurl(t, curl, command, real)
			}
		}
	}
	if calls < 5 || sidecars < 2 {
		t.Errorf("%d curl lines and %d sidecars are on the page", calls, sidecars)
	}
}

// startAsWritten starts a sidecar with flags of the page; ports become free ones.
func (m *mesh) startAsWritten(t *testing.T, flags []string, app *application, real map[string]string) {
	t.Helper()
	id, port := "", "3500"
	var kept []string
	for i := 0; i+1 < len(flags); i += 2 {
		switch name, value := flags[i], flags[i+1]; name {
		case "--app-id":
			id = value
		case "--app-port":
			kept = append(kept, app.flag())
		case "--dapr-http-port":
			port = value
		case "--dapr-grpc-port", "--metrics-port":
		default:
			kept = append(kept, name, value)
		}
	}
	p := m.start(t, id, kept...)
	real["localhost:"+port] = p.httpAddress(t)
}

// runCurl runs a line; an answer of 400 and more is a failure.
func runCurl(t *testing.T, curl, line string, real map[string]string) {
	t.Helper()
	for page, address := range real {
		line = strings.ReplaceAll(line, page+"/", address+"/")
	}
	line = "'" + curl + "' -sS --fail-with-body --max-time 20 " + strings.TrimPrefix(line, "curl ")
	out, err := exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", line, err, out)
	}
	t.Logf("%s\n%s", line, out)
}

// TestManifestsFailAlone guards the tests above: a page with a mistake does not pass.
func TestManifestsFailAlone(t *testing.T) {
	const page = "# x\n```yaml\nkind: a\n```\ntext\n  ```sh\n  curl x\n  ```\n"
	if got := fences(page); len(got) != 2 || got[0] != (fence{"yaml", "kind: a\n"}) || got[1] != (fence{"sh", "  curl x\n"}) {
		t.Errorf("%q", got)
	}
	factory, err := catalogue.All().State.Factory("state.sqlite", "v1")
	if err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(os.Stderr)
	if _, err := factory(context.Background(), &components.Spec{Name: "x", Type: "state.sqlite", Log: log}); err == nil {
		t.Error("a manifest without its required property is taken")
	}
}
