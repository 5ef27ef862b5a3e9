package wire_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	internalsv1 "github.com/daprd/daprd/pkg/proto/internals/v1"
	placementv1 "github.com/daprd/daprd/pkg/proto/placement/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/proto/wire"
)

// note is a message that is written by hand: its wire form is its text. The
// other fields let it misbehave.
type note struct {
	text    string
	size    int
	foreign bool
	err     error
}

func (n *note) SizeWire() int { return len(n.text) + n.size }

func (n *note) MarshalWire(dst []byte) ([]byte, error) {
	if n.foreign {
		return []byte(n.text), nil
	}
	return append(dst, n.text...), n.err
}

func (n *note) UnmarshalWire(src []byte) error {
	n.text = string(src)
	return n.err
}

func messages() map[string]proto.Message {
	return map[string]proto.Message{
		"empty": &runtimev1.GetStateRequest{},
		"state": &runtimev1.GetStateRequest{
			StoreName: "statestore", Key: "order||1", Metadata: map[string]string{"partitionKey": "a"},
			Consistency: commonv1.StateOptions_CONSISTENCY_STRONG,
		},
		"pooled": &runtimev1.GetStateResponse{Data: []byte(strings.Repeat("x", 100_000)), Etag: "7"},
		"invocation": &internalsv1.InternalInvokeRequest{
			Ver:      internalsv1.APIVersion_V1,
			Metadata: map[string]*internalsv1.ListStringValue{"x-a": {Values: []string{"1", "2"}}},
			Message: &commonv1.InvokeRequest{
				Method: "orders", ContentType: "text/plain", Data: &anypb.Any{Value: []byte("hello")},
				HttpExtension: &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_POST, Querystring: "a=1&b=%20"},
			},
		},
		"well known": &internalsv1.Reminder{
			ActorId: "1", Data: &anypb.Any{TypeUrl: "t/x", Value: []byte{1}},
			RegisteredTime: &timestamppb.Timestamp{Seconds: 5, Nanos: 6}, IsTimer: true,
		},
		"oneof and optional": &runtimev1.SubscribeTopicEventsRequestAlpha1{
			SubscribeTopicEventsRequestType: &runtimev1.SubscribeTopicEventsRequestAlpha1_InitialRequest{
				InitialRequest: &runtimev1.SubscribeTopicEventsRequestInitialAlpha1{Topic: "t", DeadLetterTopic: proto.String("")},
			},
		},
		"struct": &runtimev1.TopicEventRequest{Extensions: &structpb.Struct{Fields: map[string]*structpb.Value{
			"list": structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewNumberValue(1.5), structpb.NewNullValue()}}),
		}}},
		"part without vtproto": &internalsv1.InternalInvokeRequestStream{
			Payload: &commonv1.StreamPayload{Data: []byte("piece"), Seq: 3},
		},
		"reflected": &placementv1.Host{Name: "127.0.0.1:50002", Entities: []string{"Cat"}, Version: proto.Uint64(0)},
	}
}

func TestCodecMatchesStandard(t *testing.T) {
	for name, message := range messages() {
		t.Run(name, func(t *testing.T) {
			data, err := wire.Codec{}.Marshal(message)
			if err != nil {
				t.Fatal(err)
			}
			read := message.ProtoReflect().New().Interface()
			if err := proto.Unmarshal(data.Materialize(), read); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(message, read, protocmp.Transform()); diff != "" {
				t.Errorf("written by the codec, read by protobuf:\n%s", diff)
			}
			data.Free()

			standard, err := proto.Marshal(message)
			if err != nil {
				t.Fatal(err)
			}
			read = message.ProtoReflect().New().Interface()
			if err := (wire.Codec{}).Unmarshal(pieces(standard), read); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(message, read, protocmp.Transform()); diff != "" {
				t.Errorf("written by protobuf, read by the codec:\n%s", diff)
			}
		})
	}
}

// pieces splits data into buffers of up to seven bytes.
func pieces(data []byte) mem.BufferSlice {
	var out mem.BufferSlice
	for len(data) > 0 {
		n := min(7, len(data))
		out = append(out, mem.SliceBuffer(data[:n]))
		data = data[n:]
	}
	return out
}

func TestCodecKeepsUnknownFields(t *testing.T) {
	newer, err := proto.Marshal(&runtimev1.GetStateRequest{StoreName: "s", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	etag := new(commonv1.Etag) // knows field 1 only
	if err := (wire.Codec{}).Unmarshal(pieces(newer), etag); err != nil {
		t.Fatal(err)
	}
	data, err := wire.Codec{}.Marshal(etag)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(newer, data.Materialize()); diff != "" {
		t.Error(diff)
	}
}

func TestUnmarshalReplaces(t *testing.T) {
	data := func(m proto.Message) mem.BufferSlice {
		out, err := wire.Codec{}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for name, message := range map[string]proto.Message{
		"generated": &internalsv1.ListStringValue{Values: []string{"old"}},
		"reflected": &placementv1.Host{Entities: []string{"old"}, Id: "old"},
	} {
		t.Run(name, func(t *testing.T) {
			want := message.ProtoReflect().New().Interface()
			if err := (wire.Codec{}).Unmarshal(data(want), message); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, message, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A received message must not point into the buffer, which is used again.
func TestUnmarshalKeepsNothing(t *testing.T) {
	for name, message := range messages() {
		t.Run(name, func(t *testing.T) {
			raw, err := proto.Marshal(message)
			if err != nil {
				t.Fatal(err)
			}
			read := message.ProtoReflect().New().Interface()
			if err := (wire.Codec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer(raw)}, read); err != nil {
				t.Fatal(err)
			}
			for i := range raw {
				raw[i] = 0xff
			}
			if diff := cmp.Diff(message, read, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMessageByHand(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "small": "hello", "pooled": strings.Repeat("ab", 4000)} {
		t.Run(name, func(t *testing.T) {
			data, err := wire.Codec{}.Marshal(&note{text: text})
			if err != nil {
				t.Fatal(err)
			}
			defer data.Free()
			var read note
			if err := (wire.Codec{}).Unmarshal(data, &read); err != nil {
				t.Fatal(err)
			}
			if read.text != text {
				t.Errorf("read %q, want %q", read.text, text)
			}
		})
	}
}

func TestErrorsNameTheType(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for name, test := range map[string]struct {
		value any
		want  string
	}{
		"not a message":  {"text", "marshal string: it is neither a protobuf message nor a frame"},
		"nil":            {nil, "marshal <nil>: it is neither"},
		"failing":        {&note{text: long, err: errors.New("no ink")}, "marshal *wire_test.note: no ink"},
		"too short":      {&note{text: long, size: 1}, "marshal *wire_test.note: wrote 5000 bytes where its size was 5001"},
		"too long":       {&note{text: long, size: -1}, "marshal *wire_test.note: wrote 5000 bytes where its size was 4999"},
		"another buffer": {&note{text: long, foreign: true}, "marshal *wire_test.note: wrote 5000 bytes"},
		"not UTF-8":      {&placementv1.Host{Name: "\xff"}, "marshal *placementv1.Host: "},
	} {
		t.Run("marshal "+name, func(t *testing.T) {
			data, err := wire.Codec{}.Marshal(test.value)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if data != nil {
				t.Error("data beside an error")
			}
		})
	}
	for name, test := range map[string]struct {
		value any
		want  string
	}{
		"not a message": {new(string), "unmarshal *string: it is neither a protobuf message nor a frame"},
		"failing":       {&note{err: errors.New("no glasses")}, "unmarshal *wire_test.note: no glasses"},
		"generated":     {&runtimev1.GetStateRequest{}, "unmarshal *runtimev1.GetStateRequest: "},
		"reflected":     {&placementv1.Host{}, "unmarshal *placementv1.Host: "},
	} {
		t.Run("unmarshal "+name, func(t *testing.T) {
			err := wire.Codec{}.Unmarshal(pieces([]byte("\x0a\xff")), test.value)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// FuzzUnmarshal looks for bytes that make a message's reader panic, or that two
// readers take for different messages.
func FuzzUnmarshal(f *testing.F) {
	for _, message := range messages() {
		raw, err := proto.Marshal(message)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, message := range messages() {
			read, standard := message.ProtoReflect().New().Interface(), message.ProtoReflect().New().Interface()
			// Either may refuse what the other takes: vtproto a known field of
			// another wire type, protobuf a string that is not UTF-8.
			err := wire.Codec{}.Unmarshal(pieces(raw), read)
			if err != nil || proto.Unmarshal(raw, standard) != nil {
				continue
			}
			if !proto.Equal(known(t, read), known(t, standard)) {
				t.Fatalf("%T: read %v, protobuf reads %v", message, read, standard)
			}
		}
	})
}

// known returns message without unknown fields: in the well-known types vtproto
// drops them.
func known(t *testing.T, message proto.Message) proto.Message {
	t.Helper()
	raw, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	out := message.ProtoReflect().New().Interface()
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, out); err != nil {
		t.Fatal(err)
	}
	return out
}
