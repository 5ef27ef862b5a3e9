package http

import (
	"io"
	"net/http"
	"testing"
)

// TestWithheld: the length that the application tells in an answer to HEAD, or with 304, reaches the caller.
func TestWithheld(t *testing.T) {
	s := start(t, setup{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/x")
		switch r.URL.Path {
		case "/large":
			w.Header().Set("Content-Length", "5000000")
		case "/empty":
			w.Header().Set("Content-Length", "0")
		case "/unknown":
			_ = http.NewResponseController(w).Flush()
		case "/unchanged":
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			defer conn.Close()
			// Go's server leaves the length out.
			_, _ = io.WriteString(conn, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5000000\r\nConnection: close\r\n\r\n")
		case "/nothing":
			w.WriteHeader(http.StatusNoContent)
		}
	})})
	for name, client := range map[string]*http.Client{"http/1.1": {Transport: &http.Transport{}}, "http/2": http2Client()} {
		t.Run(name, func(t *testing.T) {
			defer client.CloseIdleConnections()
			for _, c := range []struct {
				verb, path string
				status     int
				want       string
			}{
				{"HEAD", "large", 200, "5000000"}, {"HEAD", "empty", 200, "0"}, {"HEAD", "unknown", 200, ""},
				{"GET", "unchanged", 304, "5000000"}, {"HEAD", "unchanged", 304, "5000000"},
				{"HEAD", "nothing", 204, ""}, {"GET", "nothing", 204, ""},
				// The connection is not out of step.
				{"HEAD", "large", 200, "5000000"},
			} {
				request, err := http.NewRequestWithContext(t.Context(), c.verb, "http://"+s.address+"/v1.0/invoke/myapp/method/"+c.path, nil)
				if err != nil {
					t.Fatal(err)
				}
				response, err := client.Do(request)
				if err != nil {
					t.Fatalf("%s %s: %v", c.verb, c.path, err)
				}
				body, _ := io.ReadAll(response.Body)
				_ = response.Body.Close()
				if got := response.Header.Get("Content-Length"); got != c.want || response.StatusCode != c.status || len(response.TransferEncoding) > 0 {
					t.Errorf("%s %s: %s, Content-Length %q, want %q; Transfer-Encoding %q", c.verb, c.path, response.Status, got, c.want, response.TransferEncoding)
				}
				if c.verb == "HEAD" && len(body) > 0 {
					t.Errorf("%s %s: body %q", c.verb, c.path, body)
				}
			}
		})
	}
}
