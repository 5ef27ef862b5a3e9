package http

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// FuzzRouting holds the rules of paths against any path: it is refused exactly when its escapes are
// malformed, cleaning is done once and for all, and a path never reaches a route that its decoded segments
// do not name.
func FuzzRouting(f *testing.F) {
	for _, seed := range []string{"/", "", "/v1.0/state/st/k", "/v1.0/state/st/k/", "//v1.0///state/st/%2F", "/v1.0/state/st/a%2", "/v1.0/../v1.0/healthz",
		"/v1.0/invoke/http://a:1/method//x/..", "/v1.0/invoke/a.b/method/", "/v1.0/publish/bulk/ps/", "/v1.0/publish/ps/", "/v1.0/secrets/s/bulk/",
		"/v1.0/configuration/a/b/unsubscribe", "/v1.0/%2e%2e/x", "/v1.0/state//k", "/./..//", "/v1.0/actors/T/1/state/k", "/\x00", "/é%C3%A9"} {
		f.Add("GET", seed)
		f.Add("POST", seed)
	}
	log, _ := nullLog()
	s := New(Config{}, Deps{Log: log})
	f.Fuzz(func(t *testing.T, verb, target string) {
		cleaned, err := cleanPath(target)
		if _, unescapeErr := url.PathUnescape(target); (err != nil) != (unescapeErr != nil) {
			t.Fatalf("%q: %v, but decoding says %v", target, err, unescapeErr)
		}
		if err != nil {
			return
		}
		if again, err := cleanPath(cleaned); err != nil || again != cleaned {
			t.Fatalf("%q: %q, then %q", target, cleaned, again)
		}
		if _, rest, isURL := cutTargetURL(cleaned); !isURL && strings.TrimSuffix(cleaned, "/") != strings.TrimSuffix(path.Clean("/"+cleaned), "/") {
			t.Fatalf("%q is not clean: %q %q", target, cleaned, rest)
		}
		for _, r := range []*router{s.routes, s.public} {
			c := matched(r, verb, cleaned)
			if c.route == nil {
				if r == s.routes {
					t.Fatalf("%q matches nothing, not even an invocation", cleaned)
				}
				continue
			}
			if c.route != r.fallback {
				fits(t, c, cleaned)
			}
		}
	})
}

func matched(r *router, verb, cleaned string) *call {
	carrier := &stream{}
	ctx := new(fasthttp.RequestCtx)
	ctx.Init2(carrier, nil, true)
	c := &carrier.call
	c.ctx, c.verb, c.path = ctx, verb, cleaned
	r.match(c, cleaned)
	return c
}

// fits puts the parameters into the template: the path has to come out.
func fits(t *testing.T, c *call, cleaned string) {
	built := c.route.template
	for _, name := range []string{"name", "key", "target:*", "topic:*", "method", "field", "timer", "event"} {
		plain, _, _ := strings.Cut(name, ":")
		built = strings.Replace(built, "{"+name+"}", "\x01"+plain+"\x02", 1)
	}
	for _, name := range []string{"name", "key", "target", "topic", "method", "field", "timer", "event"} {
		built = strings.Replace(built, "\x01"+name+"\x02", c.raw(name), 1)
	}
	if built != cleaned && built+"/" != cleaned {
		t.Fatalf("%q was routed to %s, which makes %q", cleaned, c.route.template, built)
	}
}

// FuzzSave holds the decoder of saves against encoding/json.
func FuzzSave(f *testing.F) {
	for _, seed := range []string{`[{"key":"k","value":{"a": 1},"etag":"1","metadata":{"a":"b"},"options":{"concurrency":"first-write"}}]`, `[]`, `null`,
		`[null]`, `[{"Key":"\u0041","KEY":"b"}]`, `[{"key":1}]`, `[{"metadata":{"a":1}}]`, `[{"etag":null,"value":null}]`, `{}`, `[{}] `, `[{"metadata":{"a":"1","a":"2"}}]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := setRequests(text)
		var want []setRequest
		wantErr := json.Unmarshal(text, &want)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: %v, encoding/json says %v", text, err, wantErr)
		}
		if err != nil {
			return
		}
		if len(got) != len(want) {
			t.Fatalf("%q: %d items, want %d", text, len(got), len(want))
		}
		for i := range got {
			if got[i].Key != want[i].Key || string(got[i].Concurrency) != want[i].Options.Concurrency {
				t.Fatalf("%q: %+v, want %+v", text, got[i], want[i])
			}
		}
	})
}

// FuzzConnection sends any bytes: there is an answer or an end, and never a panic.
func FuzzConnection(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte(preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	f.Add([]byte("POST /v1.0/state/st HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"))
	s := start(f, setup{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		conn := s.dial(t)
		defer conn.Close()
		_, _ = conn.Write(raw)
		_ = conn.(interface{ CloseWrite() error }).CloseWrite()
		if response, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			_ = response.Body.Close()
		}
		for _, line := range logged(s) {
			if strings.Contains(line, "panic") {
				t.Fatal(line)
			}
		}
		s.log.Reset()
	})
}

// FuzzBulkEntry: an entry of a bulk publish has the data that its event says, or a fault.
func FuzzBulkEntry(f *testing.F) {
	for _, seed := range [][2]string{{`"text"`, "text/plain"}, {`{"a":1}`, "application/json"}, {`"AAH/"`, "application/octet-stream"}, {`null`, "text/plain"},
		{`"!"`, "application/octet-stream"}, {`"x"`, ""}, {` [1] `, "application/cloudevents+json; x"}} {
		f.Add([]byte(seed[0]), seed[1])
	}
	f.Fuzz(func(t *testing.T, event []byte, contentType string) {
		body, err := json.Marshal([]map[string]any{{"entryId": "1", "event": json.RawMessage(event), "contentType": contentType}})
		if err != nil {
			return // the event is no JSON
		}
		list, err := readEntries(body)
		if err != nil || len(list) != 1 {
			t.Fatalf("%s: %v", body, err)
		}
		e := list[0]
		var text string
		isText := json.Unmarshal(event, &text) == nil && bytes.Contains(event, []byte(`"`))
		switch {
		case e.Fault == nil && e.Data == nil:
			t.Fatalf("%s: data %q and fault %v", body, e.Data, e.Fault)
		case e.Fault == nil && contentType == "text/plain" && (!isText || string(e.Data) != text):
			t.Fatalf("%s gave %q", body, e.Data)
		case contentType == "application/json" && !json.Valid(e.Data):
			t.Fatalf("%s gave %q", body, e.Data)
		}
	})
}
