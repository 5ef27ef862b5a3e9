package channel

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
)

func TestHTTPStatus(t *testing.T) {
	want := map[codes.Code]int{0: 200, 1: 408, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 15: 500, 16: 401, 99: 500}
	for code, status := range want {
		if got := HTTPStatus(code); got != status {
			t.Errorf("%v: %d, want %d", code, got, status)
		}
	}
}

func TestGRPCCode(t *testing.T) {
	want := map[int]codes.Code{200: 0, 204: 0, 299: 0, 408: 1, 500: 2, 400: 13, 504: 4, 404: 5, 409: 6, 403: 7, 401: 16, 429: 8, 501: 12, 503: 14, 302: 2, 418: 2, 199: 2}
	for status, code := range want {
		if got := GRPCCode(status); got != code {
			t.Errorf("%d: %v, want %v", status, got, code)
		}
	}
}

func TestGRPCStatusOfHTTP(t *testing.T) {
	for _, c := range []struct {
		res     Response
		code    codes.Code
		message string
		body    string
	}{
		{Response{Status: 204}, codes.OK, "", ""},
		{Response{Status: 404, Body: Body{Bytes: []byte(`{"err":"nope"}`)}}, codes.NotFound, "Not Found", `{"err":"nope"}`},
		{Response{Status: 500, Body: Body{Stream: strings.NewReader(strings.Repeat("b", 100)), Length: -1}}, codes.Unknown, "Internal Server Error", strings.Repeat("b", 63)},
		{Response{Status: 302}, codes.Unknown, "Found", ""},
		{Response{Status: 500, Body: Body{Bytes: []byte("\xff\xfea")}}, codes.Unknown, "Internal Server Error", "a"},
	} {
		st := c.res.GRPCStatus()
		if st.Code() != c.code || st.Message() != c.message {
			t.Errorf("%d: %v", c.res.Status, st)
		}
		if c.code == codes.OK {
			continue
		}
		info, ok := st.Details()[0].(*errdetails.ErrorInfo)
		if !ok || info.Domain != "dapr.io" || info.Reason != http.StatusText(c.res.Status) || info.Metadata["http.error_message"] != c.body {
			t.Errorf("%d: %v", c.res.Status, info)
		}
	}
}
