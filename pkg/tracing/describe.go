package tracing

import "strings"

// The protocols of calls.
const (
	HTTP = "http"
	GRPC = "grpc"
)

// The systems behind an operation on a component.
const (
	State    = "state"
	Secrets  = "secrets"
	Bindings = "bindings"
)

// API describes a call of the sidecar's API: name is "<VERB> <path>" or the full name of a gRPC method.
func (s *Span) API(protocol, name string) {
	s.Set("dapr.api", name)
	s.Set("dapr.protocol", protocol)
}

// Operation describes a call on a component: a state store, a secret store or an output binding.
func (s *Span) Operation(system, component, statement string) {
	s.Set("db.system", system)
	s.Set("db.name", component)
	s.Set("db.statement", statement)
	if system == State {
		s.Set("db.connection_string", State)
	}
}

// Topic describes a message, in the words of Dapr 1.7 and those of Dapr 1.18, which are OpenTelemetry's.
func (s *Span) Topic(topic, operation string) {
	s.Set("messaging.system", "pubsub")
	s.Set("messaging.destination", topic)
	s.Set("messaging.destination_kind", "topic")
	s.Set("messaging.destination.name", topic)
	s.Set("messaging.operation.type", operation)
	s.Set("messaging.operation.name", operation)
}

// Call names the span of a service invocation and describes it: id is the application, method the path.
func (s *Span) Call(id, method string) {
	if !s.Recording() {
		return
	}
	s.Name("CallLocal/" + id + "/" + method)
	s.Set("dapr.invoke_method", method)
	s.RPC("ServiceInvocation", "CallLocal")
	s.Set("net.peer.name", id)
}

// Actor names the span of a call of an actor and describes it.
func (s *Span) Actor(actorType, actorID, method string) {
	if !s.Recording() {
		return
	}
	s.Name("CallActor/" + actorType + "/" + method)
	s.Set("dapr.actor", actorType+"."+actorID)
	s.RPC("ServiceInvocation", "CallActor")
}

// RPC describes a call of a gRPC service.
func (s *Span) RPC(service, method string) {
	s.Set("rpc.system", GRPC)
	s.Set("rpc.service", service)
	s.Set("rpc.method", method)
}

// mostHeaders bounds the headers of a caller that a span shows.
const mostHeaders = 8

// Headers shows the headers of the caller whose name begins with dapr-, but no secrets and no bytes.
func (s *Span) Headers(all func(yield func(name, value string) bool)) {
	if !s.Recording() {
		return
	}
	shown := 0
	for name, value := range all {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "dapr-") && !strings.HasSuffix(lower, "-bin") && lower != "dapr-api-token" && shown < mostHeaders {
			s.Set(lower, value)
			shown++
		}
	}
}
