package channel

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/daprd/daprd/pkg/cloudevent"
	"github.com/daprd/daprd/pkg/config"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/tracing"
)

// Subscriptions asks for ListTopicSubscriptions; an application without it has none.
func (a *grpcApp) Subscriptions(ctx context.Context) ([]config.TopicSubscription, error) {
	answer, err := runtimev1.NewAppCallbackClient(a.conn).ListTopicSubscriptions(ctx, &emptypb.Empty{})
	if status.Code(err) == codes.Unimplemented {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("error getting topic list from app: %w", err)
	}
	var all []config.TopicSubscription
	for _, s := range answer.GetSubscriptions() {
		all = append(all, subscriptionOf(s))
	}
	return all, nil
}

// subscriptionOf makes one rule that always matches where the application names none.
func subscriptionOf(s *runtimev1.TopicSubscription) config.TopicSubscription {
	wish := config.TopicSubscription{PubSub: s.GetPubsubName(), Topic: s.GetTopic(), Metadata: s.GetMetadata(), DeadLetterTopic: s.GetDeadLetterTopic(),
		Bulk: config.BulkSubscribe{Enabled: s.GetBulkSubscribe().GetEnabled(), MaxMessages: int(s.GetBulkSubscribe().GetMaxMessagesCount()),
			MaxAwaitMilliseconds: int(s.GetBulkSubscribe().GetMaxAwaitDurationMs())}}
	for _, rule := range s.GetRoutes().GetRules() {
		wish.Rules = append(wish.Rules, config.TopicRule{Match: rule.GetMatch(), Path: rule.GetPath()})
	}
	if path := s.GetRoutes().GetDefault(); path != "" || len(wish.Rules) == 0 {
		wish.Rules = append(wish.Rules, config.TopicRule{Path: path})
	}
	return wish
}

// Deliver calls OnTopicEvent.
func (a *grpcApp) Deliver(ctx context.Context, e *TopicEvent) (TopicAnswer, error) {
	message, err := TopicMessage(e)
	if err != nil {
		return TopicAnswer{Verdict: Retry, Status: int(codes.Internal), Reason: err.Error()}, nil
	}
	var signs signs
	answer, err := runtimev1.NewAppCallbackClient(a.conn).OnTopicEvent(a.eventContext(ctx, e.Metadata, e.PubSub, e.TraceParent, e.Baggage), message, signs.watch()...)
	if err != nil {
		return refusalOf(ctx, err, &signs)
	}
	return verdictOf(answer.GetStatus()), nil
}

// eventContext gives a call the metadata of its message.
func (a *grpcApp) eventContext(ctx context.Context, broker map[string]string, pubSub, parent, baggage string) context.Context {
	md := metadata.MD{}
	for name, value := range broker {
		switch lower, ok := GRPCName(name); {
		case !ok, lower == "content-type", lower == "content-length":
		case strings.HasSuffix(lower, "-bin"):
			md[lower] = append(md[lower], value)
		default:
			md[lower] = append(md[lower], strings.Map(blankControl, value))
		}
	}
	md.Set("pubsubname", pubSub)
	if parent != "" {
		md.Set(tracing.ParentHeader, parent)
		trace(md)
	}
	if baggage != "" {
		md.Set(tracing.BaggageHeader, baggage)
	}
	if a.token.Required() {
		md.Set(tokenHeader, a.token.Reveal())
	}
	return metadata.NewOutgoingContext(ctx, md)
}

// signs are what the application itself has sent of an answer, which every answer has something of.
type signs struct{ header, trailer metadata.MD }

func (s *signs) watch() []grpc.CallOption {
	return []grpc.CallOption{grpc.Header(&s.header), grpc.Trailer(&s.trailer)}
}

// refusalOf tells what the application answered from a call that has no answer. The code alone does not: an application
// may pass on that it could not reach somebody else.
func refusalOf(ctx context.Context, err error, from *signs) (TopicAnswer, error) {
	st := status.Convert(err)
	switch answered := len(from.header)+len(from.trailer) > 0; {
	case ctx.Err() != nil:
		return TopicAnswer{}, ctx.Err()
	case st.Code() == codes.DeadlineExceeded && isOver(ctx):
		return TopicAnswer{}, context.DeadlineExceeded // the application's end of the call has noticed before this one
	case !answered && (st.Code() == codes.Unavailable || st.Code() == codes.Canceled):
		return TopicAnswer{}, &missed{err, !strings.Contains(st.Message(), "Error while dialing")}
	}
	answer := TopicAnswer{Verdict: Retry, Status: int(st.Code()), Reason: fmt.Sprintf("%s: %s", st.Code(), cut(st.Message()))}
	if st.Code() == codes.Unimplemented {
		answer.Verdict, answer.Unhandled = Drop, true
	}
	return answer, nil
}

// isOver says whether the time of a context is over, also where its timer has not fired yet.
func isOver(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}

func verdictOf(s runtimev1.TopicEventResponse_TopicEventResponseStatus) TopicAnswer {
	switch s {
	case runtimev1.TopicEventResponse_SUCCESS:
		return TopicAnswer{}
	case runtimev1.TopicEventResponse_DROP:
		return TopicAnswer{Verdict: Drop, Reason: "DROP status returned from app"}
	case runtimev1.TopicEventResponse_RETRY:
		return TopicAnswer{Verdict: Retry, Reason: "RETRY status returned from app"}
	}
	return TopicAnswer{Verdict: Retry, Reason: fmt.Sprintf("unknown status %d returned from app", s)}
}

// AnswerOf is what an application says of a message by its number: on a streaming subscription too.
func AnswerOf(s runtimev1.TopicEventResponse_TopicEventResponseStatus) TopicAnswer {
	return verdictOf(s)
}

// TopicMessage is an event as a gRPC application gets it.
func TopicMessage(e *TopicEvent) (*runtimev1.TopicEventRequest, error) {
	event, err := cloudevent.Parse(e.Body)
	if err != nil {
		return nil, fmt.Errorf("read the CloudEvent: %w", err)
	}
	data, err := event.Payload()
	if err != nil {
		return nil, fmt.Errorf("read the CloudEvent: %w", err)
	}
	return &runtimev1.TopicEventRequest{Id: event.Text("id"), Source: event.Text("source"), Type: event.Text("type"), SpecVersion: event.Text("specversion"),
		DataContentType: event.Text("datacontenttype"), Data: data, Topic: e.Topic, PubsubName: e.PubSub, Path: e.Path,
		Extensions: extensions(event)}, nil
}

// extensions are the members that have no field of their own. What is no value of protobuf is left out.
func extensions(event cloudevent.Event) *structpb.Struct {
	list := event.Extensions()
	s := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(list))}
	for _, m := range list {
		if len(m.Value) >= 2 && m.Value[0] == '"' {
			s.Fields[strings.ToValidUTF8(m.Name, "\uFFFD")] = structpb.NewStringValue(strings.ToValidUTF8(event.Text(m.Name), "\uFFFD"))
			continue
		}
		var value any
		if json.Unmarshal(m.Value, &value) != nil {
			continue
		}
		if converted, err := structpb.NewValue(value); err == nil {
			s.Fields[strings.ToValidUTF8(m.Name, "\uFFFD")] = converted
		}
	}
	return s
}

// DeliverBulk calls OnBulkTopicEvent, or its first form where the application has that alone.
func (a *grpcApp) DeliverBulk(ctx context.Context, e *BulkTopicEvent) ([]TopicAnswer, error) {
	request, err := bulkMessage(e)
	if err != nil {
		return sameForAll(TopicAnswer{Verdict: Retry, Status: int(codes.Internal), Reason: err.Error()}, len(e.Entries)), nil
	}
	call := a.eventContext(ctx, e.Metadata, e.PubSub, cmp.Or(e.TraceParent, tracing.ZeroParent), "")
	var signs signs
	answer, err := runtimev1.NewAppCallbackClient(a.conn).OnBulkTopicEvent(call, request, signs.watch()...)
	if status.Code(err) == codes.Unimplemented {
		answer, err = runtimev1.NewAppCallbackAlphaClient(a.conn).OnBulkTopicEventAlpha1(call, request, signs.watch()...)
	}
	if err != nil {
		refused, err := refusalOf(ctx, err, &signs)
		if refused.Unhandled {
			refused = TopicAnswer{Status: refused.Status} // nobody handles them: all are done with, as in Dapr
		}
		return sameForAll(refused, len(e.Entries)), err
	}
	said := make(map[string]runtimev1.TopicEventResponse_TopicEventResponseStatus, len(answer.GetStatuses()))
	for _, s := range answer.GetStatuses() {
		said[s.GetEntryId()] = s.GetStatus()
	}
	answers := make([]TopicAnswer, len(e.Entries))
	for i := range e.Entries {
		s, told := said[e.Entries[i].ID]
		if answers[i] = verdictOf(s); !told {
			answers[i] = TopicAnswer{Verdict: Retry, Reason: "the answer has no status of this entry"}
		}
	}
	return answers, nil
}

func bulkMessage(e *BulkTopicEvent) (*runtimev1.TopicEventBulkRequest, error) {
	request := &runtimev1.TopicEventBulkRequest{Id: e.ID, Metadata: e.Metadata, Topic: e.Topic, PubsubName: e.PubSub, Type: bulkType, Path: e.Path}
	for i := range e.Entries {
		entry := &e.Entries[i]
		m := &runtimev1.TopicEventBulkRequestEntry{EntryId: entry.ID, ContentType: entry.ContentType, Metadata: entry.Metadata}
		if entry.Raw {
			m.Event = &runtimev1.TopicEventBulkRequestEntry_Bytes{Bytes: entry.Data}
		} else {
			event, err := cloudEventOf(entry.Data)
			if err != nil {
				return nil, err
			}
			m.Event = &runtimev1.TopicEventBulkRequestEntry_CloudEvent{CloudEvent: event}
		}
		request.Entries = append(request.Entries, m)
	}
	return request, nil
}

func cloudEventOf(body []byte) (*runtimev1.TopicEventCERequest, error) {
	m, err := TopicMessage(&TopicEvent{Body: body})
	if err != nil {
		return nil, err
	}
	return &runtimev1.TopicEventCERequest{Id: m.GetId(), Source: m.GetSource(), Type: m.GetType(), SpecVersion: m.GetSpecVersion(),
		DataContentType: m.GetDataContentType(), Data: m.GetData(), Extensions: m.GetExtensions()}, nil
}
