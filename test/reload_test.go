package test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// folder is a folder of resources that a test changes.
type folder struct {
	t    *testing.T
	path string
}

func newFolder(t *testing.T) *folder { return &folder{t, t.TempDir()} }

func (f *folder) option() runtimetest.Option {
	return func(c *runtime.Config) { c.ResourcesPaths = append(c.ResourcesPaths, f.path) }
}

// write writes in place, as a shell does.
func (f *folder) write(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.path, name), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// swap writes another file and renames it, as editors do.
func (f *folder) swap(name, text string) {
	f.t.Helper()
	f.write("."+name+".swp", text)
	if err := os.Rename(filepath.Join(f.path, "."+name+".swp"), filepath.Join(f.path, name)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) remove(name string) {
	f.t.Helper()
	if err := os.Remove(filepath.Join(f.path, name)); err != nil {
		f.t.Fatal(err)
	}
}

func says(t *testing.T, s *runtimetest.Sidecar, times int, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the log says %d times: %s", times, text), func() bool { return strings.Count(s.Log.String(), text) >= times })
}

// TestReloadUnderLoad: a store is replaced again and again while it is used. No call fails, every value is there.
func TestReloadUnderLoad(t *testing.T) {
	runtimetest.Isolate(t)
	server := redistest.Start(t)
	files := newFolder(t)
	manifest := func(n int) string {
		return redisStore(server.Address, "") + fmt.Sprintf("  - {name: redisMinIdleConns, value: \"%d\"}\n", n)
	}
	files.write("store.yaml", manifest(0))
	files.write("other.yaml", strings.Replace(memoryStore, "name: store", "name: other", 1))
	s := runtimetest.Start(t, "reloading", files.option())
	client := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String()))
	var (
		load  sync.WaitGroup
		stop  = make(chan struct{})
		calls atomic.Int64
	)
	for worker := range 4 {
		load.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				key, value := fmt.Sprintf("%d-%d", worker, n%50), fmt.Sprint(n)
				if _, err := client.SaveState(t.Context(), &runtimev1.SaveStateRequest{StoreName: "store",
					States: []*commonv1.StateItem{{Key: key, Value: []byte(value)}}}); err != nil {
					t.Errorf("save: %v", err)
				}
				got, err := client.GetState(t.Context(), &runtimev1.GetStateRequest{StoreName: "store", Key: key})
				if err != nil || string(got.GetData()) != value {
					t.Errorf("get: %q, want %s: %v", got.GetData(), value, err)
				}
				calls.Add(2)
			}
		})
	}
	for n := range 6 {
		if n%2 == 0 {
			files.swap("store.yaml", manifest(n+1))
		} else {
			files.write("store.yaml", manifest(n+1))
		}
		says(t, s, n+1, "component updated: store (state.redis/v1)")
	}
	close(stop)
	load.Wait()
	t.Logf("%d calls", calls.Load())
	if strings.Contains(s.Log.String(), "updated: other") || strings.Count(s.Log.String(), "component loaded. name: other") != 1 {
		t.Error("a component that nobody changed was reloaded")
	}
}

// TestReload: what is created, changed for the worse, and deleted.
func TestReload(t *testing.T) {
	runtimetest.Isolate(t)
	files := newFolder(t)
	store := func(kind string, more string) string {
		return fmt.Sprintf("apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: store}\nspec:\n  type: %s\n  version: v1\n%s", kind, more)
	}
	s := runtimetest.Start(t, "changing", files.option())
	get := func() string { return plainly(t, s, "GET /v1.0/state/store/k") }
	files.write("store.yaml", store("state.in-memory", ""))
	eventually(t, "the store is there", func() bool { return get() == "204 " })
	says(t, s, 1, "component created: store (state.in-memory/v1)")
	if got := (&httpAPI{client: http.DefaultClient, base: s.URL("")}).call(t.Context(), "POST", "/v1.0/state/store",
		`[{"key":"k","value":1}]`, nil); got.status != 204 {
		t.Fatal(got)
	}
	// Whatever is wrong with a change, the store with its value stays.
	files.swap("store.yaml", store("state.nosuch", ""))
	says(t, s, 1, "the change of a component is refused, the one before stays: component store (state.nosuch/v1), defined in "+files.path)
	files.write("store.yaml", "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: [}\n")
	says(t, s, 1, "cannot be read: what was read in it before stays")
	files.write("store.yaml", store("state.redis", "  metadata:\n  - {name: redisHost, value: \"127.0.0.1:1\"}\n"))
	says(t, s, 1, "connection refused")
	files.write("second.yaml", store("state.in-memory", ""))
	says(t, s, 1, "the resources are not reloaded, what is in effect stays: duplicate definition of Component")
	if got := get(); got != "200 1" {
		t.Errorf("state: %s", got)
	}
	files.remove("second.yaml")
	files.remove("store.yaml")
	eventually(t, "the store is gone", func() bool { return strings.Contains(get(), "ERR_STATE_STORE_NOT_CONFIGURED") })
	says(t, s, 1, "component deleted: store (state.in-memory/v1)")
	if got := plainly(t, s, "GET /v1.0/metadata"); strings.Contains(got, "store") {
		t.Errorf("metadata: %s", got)
	}
}

// TestReloadOfMounts: a ConfigMap that is mounted changes by the swap of a link.
func TestReloadOfMounts(t *testing.T) {
	runtimetest.Isolate(t)
	files := newFolder(t)
	version := func(name, text string) {
		dir := filepath.Join(files.path, "..version"+name)
		link := filepath.Join(files.path, "..data_tmp")
		if err := errorsOf(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(text), 0o600),
			os.Symlink("..version"+name, link), os.Rename(link, filepath.Join(files.path, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	version("1", memoryStore)
	if err := os.Symlink("..data/r.yaml", filepath.Join(files.path, "r.yaml")); err != nil {
		t.Fatal(err)
	}
	s := runtimetest.Start(t, "mounted", files.option())
	version("2", memoryStore+"---"+strings.Replace(memoryStore, "name: store", "name: other", 1))
	eventually(t, "the other store is there", func() bool { return plainly(t, s, "GET /v1.0/state/other/k") == "204 " })
	if strings.Contains(s.Log.String(), "component updated") {
		t.Error("the store that stayed the same was reloaded")
	}
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestReloadOfOthers: endpoints, policies and the parts of the Configuration.
func TestReloadOfOthers(t *testing.T) {
	runtimetest.Isolate(t)
	files, settings := newFolder(t), newFolder(t)
	configuration := func(spec string) string {
		return "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\nspec:\n" + spec
	}
	settings.write("c.yaml", configuration("  features: []\n"))
	files.write("secrets.yaml", "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: env}\nspec: {type: secretstores.local.env, version: v1}\n")
	t.Setenv("SOME_VALUE", "seen")
	s := runtimetest.Start(t, "others", files.option(), func(c *runtime.Config) { c.ConfigFiles = []string{filepath.Join(settings.path, "c.yaml")} })
	endpoint := "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata: {name: outside}\nspec: {baseUrl: %q}\n"
	files.write("e.yaml", fmt.Sprintf(endpoint, "http://127.0.0.1:1"))
	eventually(t, "the endpoint is there", func() bool {
		return strings.Contains(plainly(t, s, "GET /v1.0/metadata"), `"httpEndpoints":[{"name":"outside"}]`)
	})
	files.write("e.yaml", fmt.Sprintf(endpoint, "ftp://127.0.0.1:1"))
	says(t, s, 1, "the change of the HTTPEndpoint outside")
	if got := plainly(t, s, "GET /v1.0/invoke/outside/method/x"); !strings.Contains(got, "127.0.0.1:1") {
		t.Errorf("the endpoint is gone: %s", got)
	}
	files.remove("e.yaml")
	eventually(t, "the endpoint is gone", func() bool { return !strings.Contains(plainly(t, s, "GET /v1.0/metadata"), "outside") })
	files.write("p.yaml", "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {name: mine}\nspec: {policies: {timeouts: {short: 1s}}}\n")
	eventually(t, "the policies are there", func() bool {
		return strings.Contains(plainly(t, s, "GET /v1.0/metadata"), `"resiliencies":[{"name":"mine"}]`)
	})

	if got := plainly(t, s, "GET /v1.0/secrets/env/SOME_VALUE"); !strings.HasPrefix(got, `200 {"SOME_VALUE":"seen"}`) {
		t.Fatal(got)
	}
	settings.swap("c.yaml", configuration("  secrets: {scopes: [{storeName: env, defaultAccess: deny}]}\n  tracing: {samplingRate: \"1\"}\n"))
	eventually(t, "the secret is denied", func() bool { return strings.HasPrefix(plainly(t, s, "GET /v1.0/secrets/env/SOME_VALUE"), "403 ") })
	says(t, s, 1, "the Configuration has changed in spec.tracing, spec.features: that needs a restart of the sidecar, until then the values of its start hold")
	settings.swap("c.yaml", configuration("  secrets: {scopes: [{storeName: env, defaultAccess: perhaps}]}\n"))
	says(t, s, 1, "the change of the Configuration is refused, the one before stays: ")
	if got := plainly(t, s, "GET /v1.0/secrets/env/SOME_VALUE"); !strings.HasPrefix(got, "403 ") {
		t.Error(got)
	}
}

// TestReloadOfSubscriptions: a subscription is created, changed, kept over a bad change, and deleted while messages flow;
// nothing that was published while there was one is lost.
func TestReloadOfSubscriptions(t *testing.T) {
	runtimetest.Isolate(t)
	files := newFolder(t)
	arrived := make(chan string, 100)
	app := startApplication(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			arrived <- r.URL.Path
			return
		}
		w.WriteHeader(http.StatusNotFound)
	})
	files.write("broker.yaml", "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: ps}\nspec: {type: pubsub.in-memory, version: v1}\n")
	s := runtimetest.Start(t, "reloaded", files.option(), appOn(app))
	subscription := func(routes string) {
		files.swap("s.yaml", "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: s}\nspec: {pubsubname: ps, topic: t, routes: "+routes+"}\n")
	}
	api := transports(t, s)[0].(*httpAPI)
	publish := func(want string) {
		t.Helper()
		if f := api.call(t.Context(), "POST", "/v1.0/publish/ps/t", "{}", http.Header{"Content-Type": {"application/json"}}).fault(); f != nil {
			t.Fatal(f)
		}
		if got := <-arrived; got != want {
			t.Errorf("it arrived at %s, want %s", got, want)
		}
	}
	in := func(text string) {
		t.Helper()
		eventually(t, "the metadata say "+text, func() bool { return strings.Contains(plainly(t, s, "GET /v1.0/metadata"), text) })
	}
	subscription(`{default: /first}`)
	in(`"path":"/first"`)
	publish("/first")
	subscription(`{default: /second}`)
	in(`"path":"/second"`)
	publish("/second")
	subscription(`{rules: [{match: "event.type ==", path: /third}]}`)
	says(t, s, 1, "the change of a subscription is refused, the one before stays: ")
	publish("/second")
	files.remove("s.yaml")
	eventually(t, "the subscription is gone", func() bool { return !strings.Contains(plainly(t, s, "GET /v1.0/metadata"), `"subscriptions"`) })
}

// TestReloadOfSettings: a subscription goes on at the configuration store that takes the place of another, and tells what
// differs there: nothing that changed between the two is missed.
func TestReloadOfSettings(t *testing.T) {
	runtimetest.Isolate(t)
	first, second := redistest.Start(t), redistest.Start(t)
	for _, pair := range [][2]string{{"same", "1"}, {"changed", "1"}, {"gone", "1"}} {
		redisWriter(t, first.Address)(pair[0], pair[1])
	}
	put := redisWriter(t, second.Address)
	for _, pair := range [][2]string{{"same", "1"}, {"changed", "2"}, {"new", "1"}, {"unasked", "1"}} {
		put(pair[0], pair[1])
	}
	told := make(chan string, 100)
	app := startApplication(t, func(_ http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); r.Method == http.MethodPost {
			told <- r.URL.Path + string(body[bytes.Index(body, []byte(`"items"`)):])
		}
	})
	files := newFolder(t)
	manifest := func(server *redistest.Server) string {
		return strings.ReplaceAll(settingsManifest, "REDIS", server.Address)
	}
	files.write("settings.yaml", manifest(first))
	s := runtimetest.Start(t, "settings-reload", files.option(), appOn(app))
	answer := transports(t, s)[0].(*httpAPI).call(t.Context(), "GET", "/v1.0/configuration/settings/subscribe?key=same&key=changed&key=gone&key=new", "", nil)
	if answer.status != http.StatusOK {
		t.Fatalf("%+v", answer)
	}
	files.swap("settings.yaml", manifest(second))
	got := map[string]bool{}
	for range 3 {
		got[<-told] = true
	}
	put("same", "2")
	got[<-told] = true
	want := map[string]bool{
		`/configuration/settings/changed"items":{"changed":{"value":"2"}}}`: true, `/configuration/settings/gone"items":{"gone":{}}}`: true,
		`/configuration/settings/new"items":{"new":{"value":"1"}}}`: true, `/configuration/settings/same"items":{"same":{"value":"2"}}}`: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
