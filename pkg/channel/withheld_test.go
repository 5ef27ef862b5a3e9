package channel

import (
	"io"
	"net/http"
	"testing"
)

// notModified writes what Go's server leaves out over HTTP/1.1.
func notModified(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 2 {
		w.Header().Set("Content-Length", "5000000")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5000000\r\nConnection: close\r\n\r\n")
}

// TestWithheld: what an application says of a body that it does not send reaches the caller.
func TestWithheld(t *testing.T) {
	const length = 5_000_000
	for _, protocol := range []string{"http", "https", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			address := serveHTTP(t, protocol, func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/large":
					w.Header().Set("Content-Length", "5000000")
				case "/unknown":
					_ = http.NewResponseController(w).Flush()
				case "/unchanged":
					notModified(w, r)
				case "/nothing":
					w.WriteHeader(http.StatusNoContent)
				}
			})
			app := openTest(t, Settings{Protocol: protocol, Address: address})
			for _, c := range []struct {
				verb, method string
				want         int64
			}{
				{"HEAD", "large", length}, {"HEAD", "unknown", -1}, {"GET", "unchanged", length}, {"HEAD", "unchanged", length},
			} {
				res, err := app.Invoke(testContext(t), &Request{Verb: c.verb, Method: c.method})
				if err != nil {
					t.Fatalf("%s %s: %v", c.verb, c.method, err)
				}
				if !res.Body.Withheld || res.Body.Declared() != c.want || res.Body.Size() != 0 || readBody(t, res) != "" {
					t.Errorf("%s %s: %+v, want the length %d", c.verb, c.method, res.Body, c.want)
				}
				res.Close()
			}
			for _, verb := range []string{"GET", "HEAD"} {
				res, err := app.Invoke(testContext(t), &Request{Verb: verb, Method: "nothing"})
				if err != nil {
					t.Fatal(err)
				}
				if res.Body.Withheld || res.Body.Declared() != 0 {
					t.Errorf("204 to %s: %+v", verb, res.Body)
				}
				res.Close()
			}
		})
	}
}
