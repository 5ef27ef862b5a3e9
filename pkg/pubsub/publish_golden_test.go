package pubsub_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"

	"github.com/daprd/daprd/pkg/apierr"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/pubsub"
)

// recordedCall is one publish through Dapr 1.18.3 and the stream entries that it added (see the captures' README).
type recordedCall struct {
	Name    string
	Publish struct {
		HTTP *struct {
			Request struct {
				Head string
				Body recordedText
			}
			Response struct{ Body recordedText }
		}
		GRPC *struct {
			Call     string
			Request  []struct{ B64 []byte }
			Metadata map[string][]string
		}
	}
	// Added are the entries by topic: each an id and its fields.
	Added map[string][][]json.RawMessage `json:"redis_stream_added"`
}

type recordedText struct {
	Text string
	B64  []byte
}

func (b recordedText) bytes() []byte { return append([]byte(b.Text), b.B64...) }

func recordedCalls(t *testing.T) (calls []recordedCall) {
	t.Helper()
	text, err := os.ReadFile("testdata/publishes-1.18.3.json")
	if err == nil {
		err = json.Unmarshal(text, &calls)
	}
	if err != nil || len(calls) < 50 {
		t.Fatalf("%d calls: %v", len(calls), err)
	}
	return calls
}

// fromHTTP reads a publish as the HTTP API does; false for a bulk publish, whose decoding belongs to the transport.
func (c *recordedCall) fromHTTP(t *testing.T) (*pubsub.Publication, bool) {
	t.Helper()
	request, err := http.ReadRequest(bufio.NewReader(strings.NewReader(c.Publish.HTTP.Request.Head)))
	if err != nil {
		t.Fatal(err)
	}
	topic, single := strings.CutPrefix(request.URL.Path, "/v1.0/publish/pubsub/")
	p := &pubsub.Publication{Topic: topic, ContentType: request.Header.Get("Content-Type"), Data: c.Publish.HTTP.Request.Body.bytes(),
		TraceParent: request.Header.Get("Traceparent"), TraceState: request.Header.Get("Tracestate")}
	for name, values := range request.URL.Query() {
		if p.Metadata == nil {
			p.Metadata = map[string]string{}
		}
		p.Metadata[strings.TrimPrefix(name, "metadata.")] = values[0]
	}
	return p, single
}

// publishAgain does what was recorded; false means that there is nothing to do here.
func (c *recordedCall) publishAgain(t *testing.T, s *pubsub.Service) (done bool, err error) {
	t.Helper()
	if c.Publish.HTTP != nil {
		p, single := c.fromHTTP(t)
		if !single {
			return false, nil
		}
		return true, s.Publish(t.Context(), "pubsub", p)
	}
	if strings.HasSuffix(c.Publish.GRPC.Call, "/PublishEvent") {
		var req runtimev1.PublishEventRequest
		unmarshal(t, c.Publish.GRPC.Request[0].B64, &req)
		p := &pubsub.Publication{Topic: req.GetTopic(), Data: req.GetData(), ContentType: req.GetDataContentType(), Metadata: req.GetMetadata()}
		if parent := c.Publish.GRPC.Metadata["traceparent"]; len(parent) > 0 {
			p.TraceParent = parent[0]
		} else if c.Name == "grpc traceparent" {
			p.TraceParent = "00-cccccccccccccccccccccccccccccccc-dddddddddddddddd-01" // the recording has no metadata of requests
		}
		return true, s.Publish(t.Context(), "pubsub", p)
	}
	var req runtimev1.BulkPublishRequest
	unmarshal(t, c.Publish.GRPC.Request[0].B64, &req)
	var entries []pubsub.Entry
	for _, e := range req.GetEntries() {
		entries = append(entries, pubsub.Entry{ID: e.GetEntryId(), Data: e.GetEvent(), ContentType: e.GetContentType(), Metadata: e.GetMetadata()})
	}
	_, err = s.PublishBulk(t.Context(), "pubsub", &pubsub.Publication{Topic: req.GetTopic(), Metadata: req.GetMetadata()}, entries)
	return true, err
}

func unmarshal(t *testing.T, text []byte, m proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(text, m); err != nil {
		t.Fatal(err)
	}
}

var (
	someUUID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)
	someTime = regexp.MustCompile(`"(time|expiration)":"2026-\d\d-\d\dT\d\d:\d\d:\d\dZ"`)
)

// masked puts words in place of what differs from run to run.
func masked(text []byte) string {
	return someTime.ReplaceAllString(someUUID.ReplaceAllString(string(text), "UUID"), `"$1":"TIME"`)
}

// verbatim are the JSON texts that Dapr encodes anew and this sidecar keeps (docs/decisions/verbatim-values.md).
var verbatim = strings.NewReplacer(`{"a":"\u003cx\u003e\u0026é","b":1}`, `{ "b": 1, "a": "<x>&é" }`)

// TestPublishesLikeDapr: what reaches the broker is what Dapr 1.18.3 gave to Redis, byte for byte.
func TestPublishesLikeDapr(t *testing.T) {
	replayed := 0
	for _, call := range recordedCalls(t) {
		t.Run(call.Name, func(t *testing.T) {
			s, out := newOutlet(t, nil)
			done, err := call.publishAgain(t, s)
			if !done {
				return
			}
			replayed++
			if len(call.Added) == 0 {
				call.compareError(t, err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(call.entries(t), out.texts(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-Dapr +ours)\n%s", diff)
			}
		})
	}
	if replayed < 44 {
		t.Errorf("%d publishes were replayed", replayed)
	}
}

// compareError holds an error against the recorded body.
func (c *recordedCall) compareError(t *testing.T, err error) {
	t.Helper()
	type details struct {
		Code, Message, Resource, Reason string
		Metadata                        map[string]string
	}
	var body struct {
		ErrorCode, Message string
		Details            []struct {
			ResourceName string `json:"resource_name"`
			Reason       string
			Metadata     map[string]string
		}
	}
	if err := json.Unmarshal(c.Publish.HTTP.Response.Body.bytes(), &body); err != nil || len(body.Details) != 2 {
		t.Fatal(err, body)
	}
	want := details{body.ErrorCode, body.Message, body.Details[0].ResourceName, body.Details[1].Reason, body.Details[1].Metadata}
	e := apierr.From(err)
	if e == nil || e.Resource == nil {
		t.Fatalf("error %v", err)
	}
	if diff := cmp.Diff(want, details{e.Code, e.Message, e.Resource.Name, e.Reason, e.Metadata}); diff != "" {
		t.Errorf("(-Dapr +ours)\n%s", diff)
	}
}

// entries are the recorded ones in the form of outlet.texts.
func (c *recordedCall) entries(t *testing.T) (texts []string) {
	t.Helper()
	for topic, added := range c.Added {
		for _, entry := range added {
			fields := map[string][]byte{}
			if err := json.Unmarshal(entry[1], &fields); err != nil {
				t.Fatal(err)
			}
			metadata := map[string]string{}
			if text := fields["metadata"]; text != nil {
				if err := json.Unmarshal(text, &metadata); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range []string{"traceid", "tracestate"} {
				if metadata[name] == "" {
					delete(metadata, name) // Dapr gives a raw message of a gRPC publisher, only, an empty trace
				}
			}
			texts = append(texts, shownRequest(topic, metadata, verbatim.Replace(masked(fields["data"]))))
		}
	}
	slices.Sort(texts)
	return texts
}

func shownRequest(topic string, metadata map[string]string, data string) string {
	var text bytes.Buffer
	_, _ = io.WriteString(&text, topic+" ")
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		_, _ = io.WriteString(&text, name+"="+metadata[name]+" ")
	}
	return text.String() + data
}
