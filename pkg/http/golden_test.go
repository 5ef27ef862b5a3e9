package http

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/security"
)

// step is one recorded exchange with Dapr 1.18.3 (see the captures' README for the form).
type step struct {
	Name    string
	Request struct {
		Head string
		Body payload
	}
	Response recorded
	// App is what the application received, Answer what it answered.
	App []struct {
		Request string `json:"request_line"`
		Body    payload
	}
	Answer []recorded
}

type recorded struct {
	StatusLine string `json:"status_line"`
	Status     int
	Headers    [][2]string
	Body       payload
}

type payload struct {
	Size int
	Text string
	B64  string
}

func (p payload) String() string {
	if p.B64 == "" {
		return p.Text
	}
	raw, err := base64.StdEncoding.DecodeString(p.B64)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func steps(t *testing.T, file string) []step {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var all []step
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// shown is an answer in a form that is easy to compare: without Date, without the framing, which is ours.
func shown(status string, headers [][2]string, body string) string {
	var lines []string
	for _, h := range headers {
		switch h[0] {
		case "Date", "Content-Length", "Transfer-Encoding":
		default:
			lines = append(lines, h[0]+": "+h[1])
		}
	}
	slices.Sort(lines)
	return status + "\n" + strings.Join(lines, "\n") + "\n\n" + body
}

func shownResponse(r *http.Response, body string) string {
	var headers [][2]string
	for name, values := range r.Header {
		for _, value := range values {
			headers = append(headers, [2]string{name, value})
		}
	}
	if r.Close {
		headers = append(headers, [2]string{"Connection", "close"})
	}
	return shown("HTTP/1.1 "+r.Status, headers, body)
}

// ours are the answers that differ from the recorded ones on purpose, by a part that is replaced.
var ours = map[string][]string{
	// The counting store of these tests has Redis's tags, not its scripts.
	"state delete wrong etag": {": ERR user_script:6: failed to delete myapp||k script: 2446db0de2c963f100727b388f03ead01d18c265, on @user_script:6.", ""},
	// What this test's sidecar is made of.
	"invoke unknown app": {`"message"`, "*"},
	// The appID belongs to the error on every route.
	"state store not found: query": {`"metadata":null`, `"metadata":{"appID":"myapp"}`},
	// Both items of one save race there and here; see the step before.
	"state save wrong etag": {"HTTP/1.1 ", "*"},
	"state bulk get":        {`"etag":"2"`, `"etag":"1"`},
	"metadata":              {`{"id"`, "*"},
	"metadata after put":    {`{"id"`, "*"},
}

func TestAPIAnswersLikeDapr(t *testing.T) {
	unlike := map[string]bool{
		// These need the components of the recording; their meaning is tested in their packages.
		"state query redis without index": true, "in-memory save and ttl": true, "in-memory get with ttl": true,
	}
	plain := start(t, setup{app: http.HandlerFunc(hook)})
	guarded := start(t, setup{config: Config{Token: security.NewToken("tok")}, app: http.HandlerFunc(hook)})
	for _, step := range steps(t, "api-1.18.3.json") {
		if unlike[step.Name] {
			continue
		}
		t.Run(step.Name, func(t *testing.T) {
			s := plain
			if strings.HasPrefix(step.Name, "with DAPR_API_TOKEN") {
				s = guarded
			}
			head := strings.ReplaceAll(step.Request.Head, "/mem/", "/plain/")
			if step.Name == "traceparent given" {
				head = strings.Replace(head, "/st/k", "/st/none", 1)
			}
			if step.Name == "invoke http url endpoint" {
				t.Skip("the port of the recording's application is not ours; see TestTargets")
			}
			response, body := s.exchange(t, head+step.Request.Body.String())
			got := shownResponse(response, body)
			want := shown(step.Response.StatusLine, step.Response.Headers, step.Response.Body.String())
			want = strings.ReplaceAll(want, `"resource_name":"mem"`, `"resource_name":"plain"`)
			if change := ours[step.Name]; change != nil {
				if change[1] == "*" {
					i := strings.Index(want, change[0])
					if i < 0 || len(got) < i {
						t.Fatalf("no %q in the recording, or too little in\n%s", change[0], got)
					}
					got, want = got[:i], want[:i]
				}
				want = strings.ReplaceAll(want, change[0], change[1])
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// hook is the application of the recording.
func hook(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/hook" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Hook", "1")
	_, _ = io.WriteString(w, `{"hook":true}`)
}

// invokeOurs are the deliberate differences of invocations.
var invokeOurs = map[string]string{
	"paths: /a%25b":   "the path is escaped again instead of being refused by the URL parser: the application gets /a%25b",
	"paths: /a%252Fb": "the application gets what was sent: /a%252Fb",
}

func TestInvocationAnswersLikeDapr(t *testing.T) {
	var current step
	var received []string
	s := start(t, setup{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		received = append(received, fmt.Sprintf("%s %s HTTP/1.1\n%s", r.Method, r.RequestURI, body))
		if len(current.Answer) == 0 {
			return
		}
		scripted := current.Answer[0]
		w.Header()["Date"] = nil
		if !slices.ContainsFunc(scripted.Headers, func(h [2]string) bool { return h[0] == "Content-Type" }) {
			w.Header()["Content-Type"] = nil
		}
		for _, h := range scripted.Headers {
			w.Header().Add(h[0], h[1])
		}
		w.WriteHeader(scripted.Status)
		_, _ = io.WriteString(w, scripted.Body.String())
	})})
	for _, step := range steps(t, "invoke-1.18.3.json") {
		t.Run(step.Name, func(t *testing.T) {
			if reason := invokeOurs[step.Name]; reason != "" {
				t.Skip(reason)
			}
			current, received = step, nil
			head := strings.NewReplacer("/invoke/callee/", "/invoke/myapp/", "dapr-app-id: callee", "dapr-app-id: myapp",
				"ZGFwci1hcHAtaWQ6Y2FsbGVl", base64.StdEncoding.EncodeToString([]byte("dapr-app-id:myapp"))).Replace(step.Request.Head)
			response, body := s.exchange(t, head+step.Request.Body.String())
			want := shown(step.Response.StatusLine, step.Response.Headers, strings.ReplaceAll(step.Response.Body.String(), "id: callee", "id: myapp"))
			want = regexp.MustCompile(`method contains control character at position \d+`).ReplaceAllString(want, "method contains forbidden character")
			if diff := cmp.Diff(want, shownResponse(response, body)); diff != "" {
				t.Errorf("answer: %s", diff)
			}
			var wanted []string
			for _, r := range step.App {
				body := r.Body.String()
				if step.Name == "http: POST chunked" {
					body = "hello world"
				}
				wanted = append(wanted, r.Request+"\n"+body)
			}
			if diff := cmp.Diff(wanted, received); diff != "" {
				t.Errorf("application received: %s", diff)
			}
		})
	}
}
