package http

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/resiliency"
)

// sink is a broker that takes everything but what it is told to refuse.
type sink struct{}

func (sink) Publish(_ context.Context, req *pubsub.PublishRequest) error {
	if strings.Contains(string(req.Data), "refuse me") {
		return errors.New("the sink is\nfull")
	}
	return nil
}

func (sink) Subscribe(ctx context.Context, req *pubsub.SubscribeRequest, _ pubsub.Handler) error {
	req.Established()
	<-ctx.Done()
	return nil
}

// publishing is a service with one broker, "pubsub".
func publishing(t testing.TB) *pubsub.Service {
	t.Helper()
	s := pubsub.NewService(pubsub.Deps{AppID: "myapp", Policies: resiliency.New()})
	if err := s.Add("pubsub", sink{}, pubsub.Settings{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSomeFailed: a bulk publish of which a part failed tells which part, in the body and in the headers (reference:
// http-api B3).
func TestSomeFailed(t *testing.T) {
	s := start(t, setup{})
	body := `[{"entryId":"a","event":"1","contentType":"text/plain"},{"entryId":"b","event":"refuse me","contentType":"text/plain"}]`
	response, got := s.exchange(t, "POST /v1.0/publish/bulk/pubsub/t HTTP/1.1\r\nHost: x\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+body)
	want := `{"failedEntries":[{"entryId":"b","error":"the sink is\nfull"}],"errorCode":"ERR_PUBSUB_PUBLISH_MESSAGE"}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	header := func(name string) string { return strings.Join(response.Header.Values(name), "|") }
	const told = "error when publishing to topic t in pubsub pubsub: the sink is full"
	if response.StatusCode != http.StatusInternalServerError || header("Metadata.responseData") != "" || header("Metadata.error") != told {
		t.Errorf("status %d, headers %v", response.StatusCode, response.Header)
	}
}

// TestPublishedBodyTooLarge: the limit is told in the words of the route (reference: http-api B4), the name of the
// component comes first.
func TestPublishedBodyTooLarge(t *testing.T) {
	const limit = 1 << 10
	s := start(t, setup{config: Config{MaxBodySize: limit}})
	for path, want := range map[string][2]string{
		"/v1.0/publish/pubsub/t":      {"500", "error when publishing to topic t in pubsub pubsub: stream too large"},
		"/v1.0/publish/bulk/pubsub/t": {"400", "error when unmarshaling the request for topic t pubsub pubsub: stream too large"},
		"/v1.0/publish/nope/t":        {"404", "pubsub nope is not found"},
		"/v1.0/publish/bulk/nope/t":   {"404", "pubsub nope is not found"},
	} {
		response, body := s.exchange(t, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: "+strconv.Itoa(limit+1)+"\r\n\r\n"+strings.Repeat("x", limit+1))
		if !strings.HasPrefix(response.Status, want[0]) || !strings.Contains(body, `"message":"`+want[1]+`"`) {
			t.Errorf("%s: %s %s, want %q", path, response.Status, body, want)
		}
	}
}
