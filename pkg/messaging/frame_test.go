package messaging

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/daprd/daprd/pkg/channel"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	internalsv1 "github.com/daprd/daprd/pkg/proto/internals/v1"
	"github.com/daprd/daprd/pkg/proto/wire"
)

// captured is one message between two sidecars of Dapr.
type captured struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Wire []byte `json:"b64"`
}

func captures(t testing.TB) []captured {
	t.Helper()
	raw, err := os.ReadFile("testdata/messages.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []captured
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) < 100 {
		t.Fatalf("%d captured messages", len(all))
	}
	return all
}

// TestCaptures reads what Dapr's sidecars sent, compares it with what generated code reads, writes it
// again and has generated code read that.
func TestCaptures(t *testing.T) {
	for _, c := range captures(t) {
		t.Run(c.Type+"/"+c.Name, func(t *testing.T) {
			want := generatedFor(t, c.Type)
			if err := proto.Unmarshal(c.Wire, want); err != nil {
				t.Fatal(err)
			}
			in := &inbound{unary: !strings.HasSuffix(c.Type, "Stream"), answer: strings.Contains(c.Type, "Response")}
			if err := in.UnmarshalWire(c.Wire); err != nil {
				t.Fatal(err)
			}
			if n := declared(want); n != in.length {
				t.Errorf("length %d, want %d", in.length, n)
			}
			got := generatedFor(t, c.Type)
			if err := proto.Unmarshal(rewritten(t, in), got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(comparable(want), comparable(got), protocmp.Transform(), protocmp.IgnoreEmptyMessages()); diff != "" {
				t.Errorf("after reading and writing (-original +ours):\n%s", diff)
			}
		})
	}
}

func generatedFor(t *testing.T, name string) proto.Message {
	switch name {
	case "InternalInvokeRequest":
		return &internalsv1.InternalInvokeRequest{}
	case "InternalInvokeRequestStream":
		return &internalsv1.InternalInvokeRequestStream{}
	case "InternalInvokeResponse":
		return &internalsv1.InternalInvokeResponse{}
	case "InternalInvokeResponseStream":
		return &internalsv1.InternalInvokeResponseStream{}
	}
	t.Fatalf("unknown message %s", name)
	return nil
}

// comparable leaves out the headers that channel keeps in fields of their own.
func comparable(m proto.Message) proto.Message {
	for _, h := range headersOf(m) {
		for name := range h {
			if strings.EqualFold(name, "content-type") || strings.EqualFold(name, "content-length") {
				delete(h, name)
			}
		}
	}
	return m
}

func headersOf(m proto.Message) []map[string]*internalsv1.ListStringValue {
	switch m := m.(type) {
	case *internalsv1.InternalInvokeRequest:
		return []map[string]*internalsv1.ListStringValue{m.GetMetadata()}
	case *internalsv1.InternalInvokeRequestStream:
		return headersOf(m.GetRequest())
	case *internalsv1.InternalInvokeResponse:
		if m.GetMessage() == nil && m != nil && m.Status != nil {
			// An event stream of Dapr has its content type in the headers only.
			if v := m.Headers["Content-Type"]; v != nil {
				m.Message = &commonv1.InvokeResponse{ContentType: v.Values[0]}
			}
		}
		return []map[string]*internalsv1.ListStringValue{m.GetHeaders(), m.GetTrailers()}
	case *internalsv1.InternalInvokeResponseStream:
		return headersOf(m.GetResponse())
	}
	return nil
}

// declared is the length that the headers name, -1 if none.
func declared(m proto.Message) int64 {
	for _, h := range headersOf(m) {
		if v := h["Content-Length"]; v != nil {
			n, err := strconv.ParseInt(v.Values[0], 10, 64)
			if err != nil {
				panic(err)
			}
			return n
		}
	}
	return -1
}

// rewritten writes what was read.
func rewritten(t *testing.T, in *inbound) []byte {
	t.Helper()
	var m wire.Message
	if in.answer {
		m = answerOf(t, in)
	} else {
		m = requestOf(in)
	}
	out := make([]byte, 0, m.SizeWire())
	out, err := m.MarshalWire(out)
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != m.SizeWire() {
		t.Fatalf("wrote %d bytes where the size was %d", len(out), m.SizeWire())
	}
	return out
}

func frameOf(in *inbound) frame {
	return frame{header: group(slices.Clone(in.header)), length: in.length, payload: in.data, seq: in.seq, unary: in.unary}
}

func requestOf(in *inbound) *requestFrame {
	f := &requestFrame{frame: frameOf(in)}
	if in.hasHead {
		f.head = &channel.Request{
			Verb: in.verb, Method: in.method, Query: in.query, ContentType: in.contentType, TypeURL: in.typeURL,
		}
	}
	return f
}

func answerOf(t *testing.T, in *inbound) *responseFrame {
	f := &responseFrame{
		frame: frameOf(in), trailer: group(slices.Clone(in.trailer)),
	}
	if in.hasHead {
		details, err := detailsOf(in.status, in.message, in.details)
		if err != nil {
			t.Fatal(err)
		}
		f.head = &channel.Response{
			Status: in.status, Message: in.message, Details: details, ContentType: in.contentType, TypeURL: in.typeURL,
		}
	}
	return f
}

func TestFrameThroughCodec(t *testing.T) {
	out := &requestFrame{
		frame: frame{
			header: group(channel.Header{{Name: "A", Value: "1"}, {Name: "b-bin", Value: "\x00\x01"}, {Name: "a", Value: "2"}}),
			length: 5, payload: []byte("hello"),
		},
		head: &channel.Request{Verb: "PUT", Method: "m", Query: "a=b", ContentType: "text/plain", TypeURL: "t/x"},
	}
	data, err := wire.Codec{}.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	in := &inbound{}
	if err := (wire.Codec{}).Unmarshal(data, in); err != nil {
		t.Fatal(err)
	}
	data.Free()
	want := channel.Header{{Name: "A", Value: "1"}, {Name: "A", Value: "2"}, {Name: "b-bin", Value: "\x00\x01"}}
	if diff := cmp.Diff(want, in.header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if in.verb != "PUT" || in.method != "m" || in.query != "a=b" || in.contentType != "text/plain" ||
		in.typeURL != "t/x" || in.length != 5 || string(in.data) != "hello" || in.version != 1 {
		t.Errorf("read %+v", in)
	}
}

func TestGroup(t *testing.T) {
	many := make(channel.Header, 0, 3*smallHeader)
	for i := range 3 * smallHeader {
		many = append(many, channel.Field{Name: string(rune('a' + i%5)), Value: string(rune('0' + i/5%10))})
	}
	for name, h := range map[string]channel.Header{
		"empty":      {},
		"none twice": {{Name: "a", Value: "1"}, {Name: "b", Value: "2"}},
		"all same":   {{Name: "a", Value: "1"}, {Name: "A", Value: "2"}, {Name: "a", Value: "3"}},
		"mixed": {
			{Name: "a", Value: "1"}, {Name: "b", Value: "1"}, {Name: "c", Value: "1"}, {Name: "A", Value: "2"},
			{Name: "b", Value: "2"}, {Name: "a", Value: "3"}, {Name: "d", Value: "1"}, {Name: "c", Value: "2"},
		},
		"many": many,
	} {
		t.Run(name, func(t *testing.T) {
			got := group(slices.Clone(h))
			if len(got) != len(h) {
				t.Fatalf("%d fields of %d", len(got), len(h))
			}
			seen := map[string]bool{}
			for i, f := range got {
				name := strings.ToLower(f.Name)
				if seen[name] && !sameName(got[i-1].Name, f.Name) {
					t.Errorf("%s stands apart: %v", name, got)
				}
				seen[name] = true
			}
			for name := range seen {
				if diff := cmp.Diff(valuesOf(h, name), valuesOf(got, name)); diff != "" {
					t.Errorf("values of %s (-before +after):\n%s", name, diff)
				}
			}
		})
	}
}

func valuesOf(h channel.Header, name string) (values []string) {
	for _, f := range h {
		if sameName(f.Name, name) {
			values = append(values, f.Value)
		}
	}
	return values
}

func TestBounds(t *testing.T) {
	h := make(channel.Header, maxFields+1)
	for i := range h {
		h[i] = channel.Field{Name: "a"}
	}
	f := &requestFrame{frame: frame{header: h, length: -1}, head: &channel.Request{}}
	b, err := f.MarshalWire(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := new(inbound).UnmarshalWire(b); err != errTooManyFields {
		t.Errorf("error %v", err)
	}
}

// FuzzInbound looks for input that panics, is read differently than by generated code, or does not survive
// being written again.
func FuzzInbound(f *testing.F) {
	for _, c := range captures(f) {
		f.Add(c.Wire, strings.Contains(c.Type, "Response"), !strings.HasSuffix(c.Type, "Stream"))
	}
	many, _ := base64.StdEncoding.DecodeString("CgASAggB")
	f.Add(many, true, false)
	f.Fuzz(func(t *testing.T, b []byte, answer, unary bool) {
		in := &inbound{answer: answer, unary: unary}
		if in.UnmarshalWire(b) != nil {
			return
		}
		if answer {
			if _, err := detailsOf(in.status, in.message, in.details); err != nil {
				return
			}
		}
		again := &inbound{answer: answer, unary: unary}
		if err := again.UnmarshalWire(rewritten(t, in)); err != nil {
			t.Fatalf("read what was written: %v", err)
		}
		if in.method != again.method || in.query != again.query && in.verb != "" || in.status != again.status || string(in.data) != string(again.data) {
			t.Errorf("read %+v, then %+v", in, again)
		}
		if len(in.header) != len(again.header) {
			t.Errorf("%d headers, then %d", len(in.header), len(again.header))
		}
	})
}

// BenchmarkFrame writes and reads a call of 1 KiB.
func BenchmarkFrame(b *testing.B) {
	h := channel.Header{
		{Name: "User-Agent", Value: "bench/1.0"}, {Name: "Accept", Value: "*/*"}, {Name: "X-Forwarded-For", Value: "127.0.0.1"},
		{Name: "X-Forwarded-Host", Value: "host"}, {Name: "Forwarded", Value: "for=127.0.0.1;by=127.0.0.1;host=host"},
		{Name: "destination-app-id", Value: "callee"}, {Name: "dapr-caller-app-id", Value: "caller"},
		{Name: "dapr-caller-namespace", Value: "default"}, {Name: "dapr-callee-app-id", Value: "callee"},
	}
	out := &requestFrame{
		frame: frame{header: group(h), length: 1024, payload: make([]byte, 1024)},
		head:  &channel.Request{Verb: "POST", Method: "echo", ContentType: "application/json"},
	}
	var in inbound
	b.ReportAllocs()
	for b.Loop() {
		data, err := wire.Codec{}.Marshal(out)
		if err != nil {
			b.Fatal(err)
		}
		if err := (wire.Codec{}).Unmarshal(data, &in); err != nil {
			b.Fatal(err)
		}
		data.Free()
	}
}
