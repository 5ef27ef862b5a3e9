package test

import (
	"bufio"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
)

// standalone says what becomes of lines of the seed's trace, which is that of a sidecar in Kubernetes with
// mutual TLS, when a sidecar runs standalone without: other lines, or none. All the rest stay as they are.
var standalone = map[string][]entry{
	"kubernetes mode configured": {{level: "info", scope: "dapr.runtime", msg: "standalone mode configured"}},
	"mTLS enabled. creating sidecar authenticator": {
		{level: "info", scope: "dapr.runtime", msg: "mTLS is disabled. Skipping certificate request and tls validation"}},
	"trust anchors and cert chain extracted successfully": nil,
	"authenticator created":                               nil,
	"Initialized name resolution to kubernetes": {
		{level: "info", scope: "dapr.contrib", msg: "local service entry announced: nodeapp -> 127.0.0.1:50002"},
		{level: "info", scope: "dapr.runtime", msg: "Initialized name resolution to mdns"}},
	"loading component. name: kubernetes, type: secretstores.kubernetes/v1":                                     nil,
	"component loaded. name: kubernetes, type: secretstores.kubernetes/v1":                                      nil,
	"Failed to listen on [::1]:50001 with error: listen tcp [::1]:50001: bind: cannot assign requested address": nil,
	"Failed to listen on [::1]:3500 with error: listen tcp [::1]:3500: bind: cannot assign requested address":   nil,
	"sending workload csr request to sentry":                                                                    nil,
	"certificate signed successfully":                                                                           nil,
	"starting workload cert expiry watcher. current cert expires on: 2022-05-13 02:06:10 +0000 UTC":             nil,
}

// floating is the line that the original writes from another goroutine than its neighbours.
const floating = "waiting for all outstanding components to be processed"

// TestTrace starts a sidecar as the seed's was started, as far as a machine without Kubernetes can, and holds
// its lines against the seed's.
func TestTrace(t *testing.T) {
	for name, flags := range map[string][]string{"text": nil, "json": {"--log-as-json"}} {
		t.Run(name, func(t *testing.T) {
			got := normalised(started(t, flags...))
			want := normalised(seedTrace(t))
			if diff := cmp.Diff(texts(want), texts(matching(got, want))); diff != "" {
				t.Errorf("the trace differs (-want +got):\n%s\nall lines:\n%s", diff, strings.Join(texts(got), "\n"))
			}
		})
	}
}

// started is the log of a sidecar until it is ready. Its application comes up when it is waited for.
func started(t *testing.T, flags ...string) []entry {
	t.Helper()
	server := redistest.Start(t)
	app := newApplication(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	given, ports := tracePorts(t, app)
	m := newMesh(t)
	p := m.launch(t, "nodeapp", append(append(flags, given...), manifests(t, map[string]string{"statestore.yaml": `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: statestore
spec:
  type: state.redis
  version: v1
  metadata:
  - name: redisHost
    value: ` + server.Address + `
  - name: redisPassword
    value: ""
`}))...)
	p.awaits(t, "This will block until the app is listening on that port.")
	app.live(t)
	p.ready(t)
	p.stops(t)
	lines, _, _ := p.log.snapshot()
	checkForm(t, lines)
	return entries(t, lines, strings.NewReplacer(ports...))
}

// tracePorts are the flags of an application and of ports like the seed's, and what the log's ports are in the seed's.
func tracePorts(t *testing.T, app *application) (flags, replaced []string) {
	t.Helper()
	flags, replaced = []string{app.flag(), "--dapr-public-listen-address", "127.0.0.1"}, []string{strconv.Itoa(app.port), "3000"}
	for flag, seedPort := range map[string]int{"dapr-http-port": 3500, "dapr-grpc-port": 50001, "metrics-port": 9090, "dapr-internal-grpc-port": 50002,
		"dapr-public-port": 0} {
		port := strconv.Itoa(holdPort(t))
		flags, replaced = append(flags, "--"+flag, port), append(replaced, port, strconv.Itoa(seedPort))
	}
	return flags, replaced
}

// entries reads lines up to the one that says that the sidecar is ready.
func entries(t *testing.T, lines []string, ports *strings.Replacer) (list []entry) {
	t.Helper()
	for _, line := range lines {
		e, err := parseEntry(line)
		if err != nil {
			t.Fatal(err)
		}
		e.msg = ports.Replace(e.msg)
		list = append(list, e)
		if strings.HasPrefix(e.msg, "dapr initialized") {
			return list
		}
	}
	t.Fatal("the sidecar was not ready")
	return nil
}

// seed is the seed's trace.
func seed(t *testing.T) (list []entry) {
	t.Helper()
	file, err := os.Open("testdata/trace/seed.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		e, err := parseEntry(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// seedTrace is what the seed's trace is when it runs standalone.
func seedTrace(t *testing.T) (list []entry) {
	t.Helper()
	met := map[string]bool{}
	for _, e := range seed(t) {
		replaced, differs := standalone[e.msg]
		if met[e.msg] = true; differs {
			list = append(list, replaced...)
		} else {
			list = append(list, e)
		}
	}
	for msg := range standalone {
		if !met[msg] {
			t.Errorf("the seed's trace has no line %q", msg)
		}
	}
	return list
}

var (
	elapsed  = regexp.MustCompile(`Init Elapsed [0-9]+(\.[0-9]+)?ms$`)
	versions = regexp.MustCompile(`version \S+ -- commit [0-9a-f]*$`)
)

// normalised takes the times and versions off, and puts the floating line in front of its neighbours.
func normalised(list []entry) []entry {
	list = slices.Clone(list)
	for i := range list {
		list[i].msg = elapsed.ReplaceAllString(list[i].msg, "Init Elapsed (time)ms")
		list[i].msg = versions.ReplaceAllString(list[i].msg, "version (version) -- commit (commit)")
	}
	from := slices.IndexFunc(list, func(e entry) bool { return e.msg == floating })
	after := slices.IndexFunc(list, func(e entry) bool { return e.msg == "loading components" })
	before := slices.IndexFunc(list, func(e entry) bool { return e.msg == "all outstanding components processed" })
	if from < 0 || after < 0 || from < after || from > before {
		return list // it is missing, or outside its bounds: the comparison shows it
	}
	e := list[from]
	list = slices.Delete(list, from, from+1)
	return slices.Insert(list, after+1, e)
}

// matching leaves lines of our own out, which may stand between those of the trace.
func matching(got, want []entry) (kept []entry) {
	known := map[string]bool{}
	for _, line := range texts(want) {
		known[line] = true
	}
	for _, e := range got {
		if known[e.String()] {
			kept = append(kept, e)
		}
	}
	return kept
}

func texts(list []entry) []string {
	all := make([]string, len(list))
	for i, e := range list {
		all[i] = e.String()
	}
	return all
}

var textForm = regexp.MustCompile(`^time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)" level=(debug|info|warning|error|fatal) msg=("(?:[^"\\]|\\.)*"|[A-Za-z0-9\-._/@^+]+) ` +
	`app_id=nodeapp (component="[^"]+" )?instance=\S+ scope=[a-z._-]+ type=log ver=\S+$`)

// checkForm holds every line against the form of the original: which fields, in which order, and which are
// quoted.
func checkForm(t *testing.T, lines []string) {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		e, err := parseEntry(line)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "{") {
			if !slices.IsSorted(e.names) {
				t.Errorf("the fields are not sorted: %s", line)
			}
			if strings.Contains(line, ">") || strings.Contains(line, "<") {
				t.Errorf("not escaped: %s", line)
			}
		} else if !textForm.MatchString(line) {
			t.Errorf("not in the form of the original: %s", line)
		}
		for _, name := range []string{"time", "level", "msg", "app_id", "instance", "scope", "type", "ver"} {
			if e.fields[name] == "" {
				t.Errorf("no %s in %s", name, line)
			}
		}
		if e.fields["instance"] != host || e.fields["app_id"] != "nodeapp" || e.fields["type"] != "log" {
			t.Errorf("app_id, instance or type is wrong: %s", line)
		}
	}
}
