package cloudevent_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/cloudevent"
)

func envelope(contentType string, data []byte) *cloudevent.Envelope {
	return &cloudevent.Envelope{ID: "i", Source: "s", Type: "y", Topic: "t", PubSub: "p", Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
		DataContentType: contentType, Data: data}
}

// TestEnvelope: the members are those of Dapr 1.18 in the order of their names (pkg/pubsub replays its recordings).
func TestEnvelope(t *testing.T) {
	const rest = `,"id":"i","pubsubname":"p","source":"s","specversion":"1.0","time":"2026-01-02T03:04:05Z","topic":"t","traceid":"","traceparent":"","tracestate":"","type":"y"}`
	for _, c := range [][3]string{
		{"", "a", `{"data":"a","datacontenttype":"text/plain"`},
		{"text/plain", "", `{"data":"","datacontenttype":"text/plain"`},
		{"application/json", ` {"b":1.0,"a":"\u00e9<" }`, `{"data": {"b":1.0,"a":"\u00e9<" },"datacontenttype":"application/json"`},
		{"application/json", "12345678901234567890.10", `{"data":12345678901234567890.10,"datacontenttype":"application/json"`},
		{"application/json", "{bad", `{"data":"{bad","datacontenttype":"application/json"`},
		{"application/json", `{"a":1}}`, `{"data":"{\"a\":1}}","datacontenttype":"application/json"`},
		{"application/json", "", `{"data":"","datacontenttype":"application/json"`},
		{"APPLICATION/JSON ;x", "1", `{"data":1,"datacontenttype":"APPLICATION/JSON ;x"`},
		{"application/jsonish", "1", `{"data":"1","datacontenttype":"application/jsonish"`},
		{"application/ld+json", "1", `{"data":"1","datacontenttype":"application/ld+json"`},
		{"application/octet-stream", "\x00\xff", `{"data_base64":"AP8=","datacontenttype":"application/octet-stream"`},
		{"application/octet-stream", "", `{"data_base64":"","datacontenttype":"application/octet-stream"`},
		{"application/cloudevents+protobuf", "\x00", `{"data_base64":"AA==","datacontenttype":"application/cloudevents+protobuf"`},
		{"image/png", "\x89P", `{"data":"\ufffdP","datacontenttype":"image/png"`},
	} {
		if diff := cmp.Diff(c[2]+rest, string(envelope(c[0], []byte(c[1])).Append(nil))); diff != "" {
			t.Errorf("%q as %s: %s", c[1], c[0], diff)
		}
	}
	full := envelope("", nil)
	full.Subject, full.TraceID, full.TraceParent, full.TraceState = `"sub"`, "ti", "tp", "ts"
	full.Expiration = time.Date(2026, 1, 2, 4, 4, 5, 0, time.FixedZone("", 3600))
	const want = `x{"data":"","datacontenttype":"text/plain","expiration":"2026-01-02T03:04:05Z","id":"i","pubsubname":"p","source":"s","specversion":"1.0",` +
		`"subject":"\"sub\"","time":"2026-01-02T03:04:05Z","topic":"t","traceid":"ti","traceparent":"tp","tracestate":"ts","type":"y"}`
	if diff := cmp.Diff(want, string(full.Append([]byte("x")))); diff != "" {
		t.Error(diff)
	}
}

func TestWrap(t *testing.T) {
	const want = `{"data_base64":"AAH/","datacontenttype":"application/octet-stream","id":"i","pubsubname":"p","source":"Dapr","specversion":"1.0","topic":"t","type":"com.dapr.event.sent"}`
	if diff := cmp.Diff(want, string(cloudevent.Wrap("i", "t", "p", []byte{0, 1, 255}, nil))); diff != "" {
		t.Error(diff)
	}
}

// FuzzParse holds the reading of events against encoding/json, and what is written again against what was read.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{"id":"1","data":{"a":[1,"\ud800"]},"id":"2"}`, `{}`, `null`, `{"data_base64":"AA=="}`, "{\"\xff\":1}", `{"a":1}{`, ` {"d\u0061ta":"x"} `,
		`{"expiration":"2026-01-02T03:04:05Z","traceid":"a","datacontenttype":"text/plain","data":"\n"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := cloudevent.Parse(text)
		var want map[string]json.RawMessage
		fault := json.Unmarshal(text, &want)
		if object := fault == nil && want != nil; object != (err == nil) && len(want) < 1000 {
			t.Fatalf("%q: %v, encoding/json says %v", text, err, fault)
		}
		if err != nil {
			return
		}
		for name, value := range want {
			if got := e.Raw(name); strings.TrimSpace(string(got)) != strings.TrimSpace(string(value)) {
				t.Fatalf("%q: %s is %q, want %q", text, name, got, value)
			}
		}
		_, _, _ = e.Expired(time.Time{}), e.TraceParent(), e.Extensions()
		_, _ = e.Payload()
		written := e.Append(nil)
		var again map[string]json.RawMessage
		if err := json.Unmarshal(written, &again); err != nil {
			t.Fatalf("%q became %q: %v", text, written, err)
		}
		if diff := cmp.Diff(want, again); diff != "" {
			t.Fatalf("%q became %q", text, written)
		}
	})
}

// FuzzEnvelope: whatever is published, the event is JSON and says what was published.
func FuzzEnvelope(f *testing.F) {
	f.Add("application/json", []byte(`{"a":1}`), "id", "topic/<é>", "00-a")
	f.Add("application/json; x", []byte(`{bad`), "\x00\"\\", "\xff", "")
	f.Add("application/octet-stream", []byte{0, 255}, "", "", "")
	f.Add("", []byte("text\n"), "a", "b", "\u2028")
	f.Fuzz(func(t *testing.T, contentType string, data []byte, id, topic, trace string) {
		e := envelope(contentType, data)
		e.ID, e.Topic, e.TraceID, e.TraceParent, e.TraceState, e.Subject = id, topic, trace, trace, trace, trace
		text := e.Append(nil)
		read, err := cloudevent.Parse(text)
		if err != nil || !json.Valid(text) {
			t.Fatalf("%q is no event: %v", text, err)
		}
		for name, want := range map[string]string{"id": id, "topic": topic, "traceid": trace, "tracestate": trace, "subject": trace, "source": "s"} {
			if got := read.Text(name); got != strings.ToValidUTF8(want, "\ufffd") && utf8.ValidString(want) {
				t.Fatalf("%s is %q, want %q", name, got, want)
			}
		}
		switch {
		case cloudevent.IsBinary(contentType):
			if got, err := read.Payload(); err != nil || string(got) != string(data) {
				t.Fatalf("%q gave %q: %v", data, got, err)
			}
		case cloudevent.IsJSON(contentType) && json.Valid(data):
			if got := string(read.Raw("data")); got != strings.Trim(string(data), " \t\r\n") {
				t.Fatalf("%q gave %q", data, got)
			}
		case utf8.Valid(data):
			if got := read.Text("data"); got != string(data) {
				t.Fatalf("%q gave %q", data, got)
			}
		}
	})
}

func BenchmarkEnvelope(b *testing.B) {
	e := envelope("application/json", []byte(`{"orderId":12345,"items":[{"sku":"a-1","n":2},{"sku":"b-2","n":1}],"note":"as soon as possible"}`))
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst = e.Append(dst[:0])
	}
}

func BenchmarkParse(b *testing.B) {
	text := envelope("application/json", []byte(`{"orderId":12345,"items":[{"sku":"a-1","n":2},{"sku":"b-2","n":1}],"note":"as soon as possible"}`)).Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cloudevent.Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}
