package test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
	"github.com/daprd/daprd/pkg/security"
)

// TestWaysAroundTheToken: paths and headers that are written to look like what needs no token, or like the token, sent as raw
// bytes. None of them reaches the application or is answered as if the token had been shown.
func TestWaysAroundTheToken(t *testing.T) {
	runtimetest.Isolate(t)
	var calls atomic.Int64
	app := handledBy(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/dapr/config" || r.URL.Path == "/dapr/subscribe" {
			http.NotFound(w, r)
			return
		}
		calls.Add(1)
	})
	s := runtimetest.Start(t, "guarded", app, func(c *runtime.Config) { c.APIToken = security.NewToken("s3cret") })
	address := s.HTTPAddress().String()
	const invoke, long = "/v1.0/invoke/guarded/method", 1500
	send := func(verb, target string, headers ...string) int {
		response, body := rawly(t, address, verb+" "+target+" HTTP/1.1\r\nHost: x\r\n"+strings.Join(headers, "")+"Content-Length: 0\r\nConnection: close\r\n\r\n")
		if strings.Contains(body, "s3cret") {
			t.Errorf("%s %s tells the token", verb, target)
		}
		return response.StatusCode
	}
	if got := send("GET", invoke+"/x", "dapr-api-token: s3cret\r\n"); got != 200 || calls.Load() != 1 {
		t.Fatalf("with the token: %d", got)
	}
	calls.Store(0)

	for _, target := range []string{
		// The word anywhere, as in CVE-2023-37918.
		invoke + "/healthz", invoke + "/v1.0/healthz", invoke + "/x?/healthz", invoke + "/x?a=/v1.0/healthz", "/v1.0/metadata?/v1.0/healthz", "/v1.0/state/healthz/healthz",
		"/healthz", "/v1.0/healthz/x", "/v1.0/healthz/outbound/x", "/v1.0/healthz%2foutbound%2fx", "/v1.0/healthz;/../metadata",
		// Places that lead back out.
		"/v1.0/healthz/../metadata", "/v1.0/healthz/%2e%2e/metadata", "/v1.0/healthz%2f..%2fmetadata", "/v1.0/healthz/..%2fmetadata", "/v1.0/healthz/../invoke/guarded/method/x",
		"//v1.0/healthz/../metadata", "/v1.0/healthz/./../metadata", "/v1.0/healthz\\..\\metadata", "/v1.0/healthz%5c..%5cmetadata", "/v1.0/healthz%00/../metadata",
		// Other writings of what needs the token.
		"/V1.0/METADATA", "/v1.0//metadata", "//v1.0/metadata", "/./v1.0/metadata", "/v1%2e0/metadata", "/v1.0/%6detadata", "/v1.0/metadata/", "/v1.0/metadata%2f",
		"http://x" + invoke + "/x", "http://x/v1.0/metadata", "http:///v1.0/healthz/../metadata",
		// As long as they can be.
		"/" + strings.Repeat("x/../", long/5) + "v1.0/metadata", "/v1.0/healthz" + strings.Repeat("/..", 3) + "/v1.0/metadata", invoke + strings.Repeat("/healthz", long/8),
		"/v1.0/healthz" + strings.Repeat("/.", long/2) + "/../metadata",
	} {
		for _, verb := range []string{"GET", "POST", "HEAD", "OPTIONS", "BREW"} {
			if code := send(verb, target); code < 400 || calls.Load() > 0 {
				t.Errorf("%s %.80s: %d; the application was called %d times", verb, target, code, calls.Swap(0))
			}
		}
	}
	for name, headers := range map[string][]string{
		"empty":                {"dapr-api-token: \r\n"},
		"a part":               {"dapr-api-token: s3cre\r\n"},
		"longer":               {"dapr-api-token: s3cret0\r\n"},
		"upper case":           {"dapr-api-token: S3CRET\r\n"},
		"a prefix":             {"dapr-api-token: Bearer s3cret\r\n"},
		"a list":               {"dapr-api-token: s3cret, x\r\n"},
		"quoted":               {"dapr-api-token: \"s3cret\"\r\n"},
		"the second":           {"dapr-api-token: x\r\n", "dapr-api-token: s3cret\r\n"},
		"another header":       {"Authorization: Bearer s3cret\r\n", "dapr_api_token: s3cret\r\n", "X-Dapr-Api-Token: s3cret\r\n"},
		"a cookie":             {"Cookie: dapr-api-token=s3cret\r\n"},
		"a target as a header": {"dapr-app-id: guarded\r\n"},
		"a rewritten path":     {"X-Original-URL: /v1.0/healthz\r\n", "X-Rewrite-URL: /v1.0/healthz\r\n", "X-Forwarded-Prefix: /v1.0/healthz\r\n"},
		"as long as it can be": {"dapr-api-token: s3cret" + strings.Repeat("x", long) + "\r\n"},
	} {
		for _, target := range []string{invoke + "/x", "/v1.0/metadata", "/x?dapr-api-token=s3cret"} {
			if code := send("GET", target, headers...); code != http.StatusUnauthorized || calls.Load() > 0 {
				t.Errorf("%s, %s: %d; the application was called %d times", name, target, code, calls.Swap(0))
			}
		}
	}

	conn := dial(t, s.GRPCAddress().String())
	for _, method := range []string{"/dapr.proto.runtime.v1.Dapr/GetMetadata", "/DAPR.proto.runtime.v1.Dapr/getmetadata", "//dapr.proto.runtime.v1.Dapr/GetMetadata",
		"/dapr.proto.runtime.v1.Dapr//GetMetadata", "/dapr.proto.runtime.v1.Dapr/../Dapr/GetMetadata", "/dapr.proto.runtime.v1.Dapr/GetMetadata/healthz",
		"/grpc.health.v1.Health/Check", "/v1.0/healthz", "/any.Service/healthz", "/any.Service/" + strings.Repeat("x", long)} {
		for name, pairs := range map[string][]string{"nothing": nil, "the application": {"dapr-app-id", "guarded"}, "a part": {"dapr-api-token", "s3cre"},
			"the second": {"dapr-api-token", "x", "dapr-api-token", "s3cret"}, "another name": {"authorization", "Bearer s3cret"}} {
			ctx := metadata.AppendToOutgoingContext(t.Context(), pairs...)
			err := conn.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{}, grpc.WaitForReady(true))
			if code := status.Code(err); code == codes.OK || code != codes.Unauthenticated && code != codes.Unimplemented || calls.Load() > 0 {
				t.Errorf("gRPC %.60s with %s: %v", method, name, err)
			}
		}
	}
}
