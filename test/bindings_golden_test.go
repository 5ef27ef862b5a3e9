package test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// bindingStep is one recorded exchange with Dapr 1.18.3 (see the captures' README for the form).
type bindingStep struct {
	Name    string
	Request struct {
		Head string
		Body struct{ Text string }
	}
	Response struct {
		Status  int
		Line    string `json:"status_line"`
		Headers [][2]string
		Body    struct{ Text string }
	}
}

// TestBindingsAnswerLikeDapr replays the recorded calls of bindings.http and bindings.localstorage.
func TestBindingsAnswerLikeDapr(t *testing.T) {
	text, err := os.ReadFile("testdata/bindings/api-1.18.3.json")
	if err != nil {
		t.Fatal(err)
	}
	var steps []bindingStep
	if err := json.Unmarshal(text, &steps); err != nil {
		t.Fatal(err)
	}
	runtimetest.Isolate(t)
	hook := startApplication(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil
		if strings.HasSuffix(r.URL.Path, "/fail") {
			w.Header()["Content-Type"] = nil
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, "fail")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Hook", "1")
		_, _ = io.WriteString(w, `{"hook":true}`)
	})
	dir := t.TempDir()
	manifest := strings.NewReplacer("name: web", "name: hook", "OUTSIDE", "http://"+loopback(hook.port)+"/hook", "DIR", dir).Replace(bindingsManifest)
	s := runtimetest.Start(t, "golden", runtimetest.Manifests(t, manifest))
	for _, step := range steps {
		t.Run(step.Name, func(t *testing.T) {
			response, body := rawly(t, s.HTTPAddress().String(), step.Request.Head+step.Request.Body.Text)
			want := bindingAnswer(step.Response.Line, step.Response.Headers, strings.ReplaceAll(step.Response.Body.Text, "DIR/s8s/store", dir))
			var headers [][2]string
			for name, values := range response.Header {
				headers = append(headers, [2]string{name, strings.Join(values, ", ")})
			}
			if diff := cmp.Diff(want, bindingAnswer("HTTP/1.1 "+response.Status, headers, body)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if len(steps) < 10 {
		t.Errorf("%d steps", len(steps))
	}
}

// bindingAnswer is an answer in a form that is easy to compare.
func bindingAnswer(line string, headers [][2]string, body string) string {
	var lines []string
	for _, h := range headers {
		if h[0] != "Date" && h[0] != "Content-Length" && h[0] != "Connection" {
			lines = append(lines, h[0]+": "+h[1])
		}
	}
	slices.Sort(lines)
	return line + "\n" + strings.Join(lines, "\n") + "\n\n" + body
}
