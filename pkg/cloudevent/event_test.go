package cloudevent_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/cloudevent"
)

func parsed(t testing.TB, text string) cloudevent.Event {
	t.Helper()
	e, err := cloudevent.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return e
}

func TestParse(t *testing.T) {
	many := strings.Builder{}
	for i := range 1001 {
		_, _ = fmt.Fprintf(&many, `,"m%d":%d`, i, i)
	}
	for text, ok := range map[string]bool{
		`{}`: true, " \r\n\t{ } ": true, `{"id":"1"}`: true, `{"id":{"a":[1]}}`: true,
		"": false, " ": false, `null`: false, `[]`: false, `"{}"`: false, `{} {}`: false, `{"id":1,}`: false, `{"id":01}`: false, `{id:1}`: false, `{"id"`: false,
		"{" + many.String()[1:] + "}":                               false,
		"{" + strings.Split(many.String(), `,"m1000"`)[0][1:] + "}": true,
	} {
		if _, err := cloudevent.Parse([]byte(text)); (err == nil) != ok {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

func TestMembers(t *testing.T) {
	e := parsed(t, ` {"id": "1\n\u00e9", "i\u0064":"2", "n": 1.10, "o":{ "a" : 1 }, "traceid":"00-old"} `)
	for name, want := range map[string][2]string{"id": {`"2"`, "2"}, "n": {"1.10", ""}, "o": {`{ "a" : 1 }`, ""}, "nope": {"", ""}} {
		if got := [2]string{string(e.Raw(name)), e.Text(name)}; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := parsed(t, `{"id":"1\n\u00e9"}`).Text("id"); got != "1\né" {
		t.Errorf("%q", got)
	}
	if e.TraceParent() != "00-old" || parsed(t, `{"traceid":"a","traceparent":"b"}`).TraceParent() != "b" || parsed(t, `{}`).TraceParent() != "" {
		t.Error("another trace")
	}
	var names []string
	for _, m := range parsed(t, `{"data":1,"x":2,"id":"","source":"","type":"","specversion":"","datacontenttype":"","data_base64":"","topic":"t","time":"u"}`).Extensions() {
		names = append(names, m.Name+string(m.Value))
	}
	if diff := cmp.Diff([]string{"x2", `topic"t"`, `time"u"`}, names); diff != "" {
		t.Error(diff)
	}
}

func TestSetAndAppend(t *testing.T) {
	e := parsed(t, `{"b":1,"a":{ "z" : [ 1 ] },"b":2,"c":null}`)
	e.SetDefault("a", "kept")
	e.SetDefault("d", "<new>")
	e.Set("c", "é\n")
	if got, want := string(e.Append([]byte("x"))), `x{"a":{ "z" : [ 1 ] },"b":2,"c":"é\n","d":"\u003cnew\u003e"}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	e.Set("b", "3")
	if got, want := string(e.Append(nil)), `{"a":{ "z" : [ 1 ] },"b":"3","c":"é\n","d":"\u003cnew\u003e"}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := string(cloudevent.Event{}.Append(nil)); got != "{}" {
		t.Error(got)
	}
}

func TestExpired(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]bool{
		`{}`: false, `{"expiration":"2026-01-02T03:04:05Z"}`: true, `{"expiration":"2026-01-02T03:04:06Z"}`: false,
		`{"expiration":"2026-01-02T04:04:05+01:00"}`: true, `{"expiration":"2026-01-02T03:04:04.9Z"}`: true, `{"expiration":"soon"}`: false, `{"expiration":0}`: false,
	} {
		if got := parsed(t, text).Expired(now); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// TestPayload: the data as a gRPC application gets it (reference: building-blocks 2.5).
func TestPayload(t *testing.T) {
	for text, want := range map[string]string{
		`{"data_base64":"AAH/","datacontenttype":"application/json"}`:                "\x00\x01\xff",
		`{"data":{ "a": 1.10 },"datacontenttype":"application/json; charset=utf-8"}`: `{ "a": 1.10 }`,
		`{"data":"text","datacontenttype":"application/json"}`:                       `"text"`,
		`{"data":{"a":1},"datacontenttype":"application/cloudevents+json"}`:          `{"a":1}`,
		`{"data":"\u003cr/\u003e","datacontenttype":"application/xml"}`:              `<r/>`,
		`{"data":"h\u00e9\n","datacontenttype":"text/plain"}`:                        "hé\n",
		`{"data":{"a":1},"datacontenttype":"TEXT/html; charset=utf-8"}`:              `{"a":1}`,
		`{"data":"x","datacontenttype":"image/png"}`:                                 "",
		`{"data":"x","datacontenttype":"application/vnd.api+json"}`:                  "",
		`{"data":"x"}`:                                         "",
		`{"datacontenttype":"application/json"}`:               "",
		`{"data":"x","datacontenttype":"application/jsonish"}`: "",
	} {
		if got, err := parsed(t, text).Payload(); err != nil || string(got) != want {
			t.Errorf("%s: %q %v, want %q", text, got, err, want)
		}
	}
	if got, err := parsed(t, `{"data_base64":"!"}`).Payload(); err == nil || got != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestBinaryMode: a message with ce_ metadata is put together again (reference: building-blocks 2.5).
func TestBinaryMode(t *testing.T) {
	attributes := map[string]string{"ce_id": "1", "CE_Source": "/s", "ce_": "none", "other": "x"}
	for _, c := range []struct {
		contentType string
		metadata    map[string]string
		want        bool
	}{
		{"application/octet-stream", attributes, true}, {"Application/Octet-Stream; x=y", attributes, true}, {"", attributes, false},
		{"application/json", attributes, false}, {"application/octet-stream", map[string]string{"ce_": "", "cetera": ""}, false},
		{"application/octet-stream", nil, false}, {"application/octet-streams", attributes, false},
	} {
		if got := cloudevent.IsBinaryMode(c.contentType, c.metadata); got != c.want {
			t.Errorf("%s %v: %v", c.contentType, c.metadata, got)
		}
	}
	for contentType, want := range map[string]string{
		"":                 `{"data_base64":"eyJhIjoxfQ==","datacontenttype":"application/octet-stream","id":"1","source":"/s","specversion":"1.0","type":"com.dapr.event.sent"}`,
		"application/json": `{"data":{"a":1},"datacontenttype":"application/json","id":"1","source":"/s","specversion":"1.0","type":"com.dapr.event.sent"}`,
		"text/plain":       `{"data":"{\"a\":1}","datacontenttype":"text/plain","id":"1","source":"/s","specversion":"1.0","type":"com.dapr.event.sent"}`,
	} {
		metadata := map[string]string{"ce_id": "1", "CE_Source": "/s", "other": "x"}
		if contentType != "" {
			metadata["ce_datacontenttype"] = contentType
		}
		if got := string(cloudevent.Assemble([]byte(`{"a":1}`), metadata).Append(nil)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
