package test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/metadata"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// TestActorSpans: a call of an actor has a span with the name of its type and method, which says in an attribute which actor it is;
// the actor is called within it.
func TestActorSpans(t *testing.T) {
	runtimetest.Isolate(t)
	app := newActorApp(t, `{"entities":["T"]}`)
	app.method = func(w http.ResponseWriter, r *http.Request, _, _ string, _ []byte) {
		_, _ = io.WriteString(w, r.Header.Get("Traceparent"))
	}
	about := make(chan string, 10)
	zipkin := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var all []struct{ Tags map[string]string }
		if err := json.NewDecoder(r.Body).Decode(&all); err != nil {
			t.Error(err)
		}
		for _, span := range all {
			if actor, ok := span.Tags["dapr.actor"]; ok {
				about <- actor
			}
		}
	}))
	defer zipkin.Close()
	s := startActors(t, app, runtimetest.Manifests(t, memoryActors),
		runtimetest.Configuration(t, `spec: {tracing: {samplingRate: "1", stdout: true, zipkin: {endpointAddress: "`+zipkin.URL+`"}}}`))
	code, overHTTP, _ := callAPI(t, "POST", s.URL("/v1.0/actors/T/secret-id/method/m"), "", "traceparent", sampledParent)
	if code != http.StatusOK {
		t.Fatalf("%d %s", code, overHTTP)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", sampledParent)
	answer, err := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String())).InvokeActor(ctx,
		&runtimev1.InvokeActorRequest{ActorType: "T", ActorId: "secret-id", Method: "m"})
	if err != nil {
		t.Fatal(err)
	}
	var got, seen []string
	for _, span := range spans(t, s) {
		if "00-"+span.Trace == sampledParent[:35] {
			got, seen = append(got, span.Name+" under "+span.Parent), append(seen, span.parent("01"))
		}
	}
	under := " under " + sampledParent[36:52]
	if diff := cmp.Diff([]string{"CallActor/T/m" + under, "CallActor/T/m" + under}, got); diff != "" {
		t.Error(diff)
	}
	if want := []string{overHTTP, string(answer.GetData())}; !slices.Equal(want, seen) {
		t.Errorf("the actor was called within %v, the spans are %v", want, seen)
	}
	for range got {
		if actor := <-about; actor != "T.secret-id" {
			t.Errorf("dapr.actor is %s", actor)
		}
	}
}
