package channel

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The files of testdata are cut from recordings of Dapr 1.18.3: what came in from the calling sidecar,
// what the application received, what it answered, and what went back to the calling sidecar.

func load(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

type recordedRequest struct {
	Verb, Method, Query, ContentType, TypeURL string
	Metadata                                  map[string][]string
	Body                                      []byte
}

func (r recordedRequest) request() *Request {
	req := &Request{Verb: r.Verb, Method: r.Method, Query: r.Query, ContentType: r.ContentType, TypeURL: r.TypeURL, Body: Body{Bytes: r.Body}}
	for name, values := range r.Metadata {
		for _, value := range values {
			req.Header = req.Header.With(name, value)
		}
	}
	return req
}

type recordedBody struct {
	Size int
	Text string
	B64  string
}

func (b recordedBody) bytes(t *testing.T) string {
	if b.B64 == "" {
		return b.Text
	}
	raw, err := base64.StdEncoding.DecodeString(b.B64)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

type httpRecord struct {
	Name     string
	Request  recordedRequest
	Received struct {
		Line    string
		Headers [][2]string
		Framing string
		Body    recordedBody
	}
	Answer *struct {
		Status  int
		Headers [][2]string
		Body    recordedBody
	}
	Response *struct {
		Headers map[string]struct{ Values []string }
		Message struct{ ContentType string }
		Status  struct{ Code int }
	}
}

func TestHTTPCaptures(t *testing.T) {
	var records []httpRecord
	load(t, "http-app.json", &records)
	for _, record := range records {
		t.Run(record.Name, func(t *testing.T) {
			got := make(chan *rawRequest, 1)
			app := serveRaw(t, answerAll(recordedAnswer(t, record), got))
			channel := openTest(t, Settings{Address: app.address})
			res, err := channel.Invoke(testContext(t), record.Request.request())
			if err != nil {
				t.Fatal(err)
			}
			defer res.Close()
			compareReceived(t, record, app.address, await(t, got, "the request"))
			compareAnswered(t, record, res)
		})
	}
}

func recordedAnswer(t *testing.T, record httpRecord) string {
	if record.Answer == nil {
		return okEmpty
	}
	var text strings.Builder
	fmt.Fprintf(&text, "HTTP/1.1 %d %s\r\n", record.Answer.Status, http.StatusText(record.Answer.Status))
	body := record.Answer.Body.bytes(t)
	for _, h := range record.Answer.Headers {
		fmt.Fprintf(&text, "%s: %s\r\n", h[0], h[1])
	}
	if record.Request.Verb != "HEAD" && record.Answer.Status != 204 {
		fmt.Fprintf(&text, "Content-Length: %d\r\n", len(body))
	}
	text.WriteString("\r\n" + body)
	return text.String()
}

// compareReceived holds what the application got against the recording. Three things differ on purpose:
// no Accept-Encoding is added; data of a gRPC caller and empty bodies have a length instead of being chunked;
// the order of different headers is that of the caller, while the original sorts.
func compareReceived(t *testing.T, record httpRecord, address string, got *rawRequest) {
	t.Helper()
	sent := func(name string) bool {
		for key := range record.Request.Metadata {
			if canonical(key) == name {
				return true
			}
		}
		return false
	}
	comparable := func(headers [][2]string) (lines []string) {
		for _, h := range headers {
			switch h[0] {
			case "Host":
				h[1] = strings.ReplaceAll(h[1], address, "127.0.0.1:6000")
			case "Accept-Encoding":
				if !sent("Accept-Encoding") {
					continue
				}
			case "Content-Length", "Transfer-Encoding":
				continue
			}
			lines = append(lines, h[0]+": "+strings.TrimSpace(h[1]))
		}
		slices.SortStableFunc(lines, func(a, b string) int {
			return strings.Compare(strings.SplitN(a, ":", 2)[0], strings.SplitN(b, ":", 2)[0])
		})
		return lines
	}
	if diff := cmp.Diff(record.Received.Line, got.line); diff != "" {
		t.Errorf("request line (-recorded +sent):\n%s", diff)
	}
	if diff := cmp.Diff(comparable(record.Received.Headers), comparable(got.headers)); diff != "" {
		t.Errorf("headers (-recorded +sent):\n%s", diff)
	}
	if want := record.Received.Body.bytes(t); want != string(got.body) {
		t.Errorf("body %q, recorded %q", got.body, want)
	}
}

func compareAnswered(t *testing.T, record httpRecord, res *Response) {
	t.Helper()
	if record.Response == nil {
		return
	}
	if res.Status != record.Response.Status.Code {
		t.Errorf("status %d, recorded %d", res.Status, record.Response.Status.Code)
	}
	if res.ContentType != record.Response.Message.ContentType {
		t.Errorf("content type %q, recorded %q", res.ContentType, record.Response.Message.ContentType)
	}
	got, want := map[string][]string{}, map[string][]string{}
	for _, f := range res.Header {
		got[f.Name] = append(got[f.Name], f.Value)
	}
	for name, list := range record.Response.Headers {
		// The content type has a field of its own.
		if name != "Content-Type" {
			want[name] = list.Values
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers of the answer (-recorded +given):\n%s", diff)
	}
	if record.Answer != nil && record.Request.Verb != "HEAD" {
		if body := readBody(t, res); body != record.Answer.Body.bytes(t) {
			t.Errorf("body of the answer %q", body)
		}
	}
}

func TestPathCaptures(t *testing.T) {
	var records []struct{ Path, Line string }
	load(t, "paths.json", &records)
	// 1.18 refuses what is a percent sign once decoded; %25 can stand in a path, and is sent escaped.
	differs := map[string]string{"a%25b": "/a%25b", "a%252Fb": "/a%252Fb"}
	for _, record := range records {
		t.Run(record.Path, func(t *testing.T) {
			decoded, err := url.PathUnescape(record.Path)
			if err != nil {
				t.Fatal(err)
			}
			want := record.Line
			if ours, ok := differs[record.Path]; ok {
				want = ours
			}
			method, err := CanonicalMethod(decoded)
			if want == "" {
				if err == nil {
					t.Errorf("%q was not refused: %q", decoded, method)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := string(EscapeMethod([]byte{'/'}, method)); got != want {
				t.Errorf("got %q, recorded %q", got, want)
			}
		})
	}
}
