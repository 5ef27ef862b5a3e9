package channel

import (
	"io"
	"testing"
)

// TestConnectionOptionsOfAnAnswer: hop-by-hop headers may be named in several Connection headers.
func TestConnectionOptionsOfAnAnswer(t *testing.T) {
	for _, head := range []string{"Connection: X-Hop\r\nConnection: keep-alive\r\n", "Connection: keep-alive\r\nConnection: x-hop\r\n"} {
		app := serveRaw(t, func(c *rawConn) {
			for {
				line, err := c.r.ReadString('\n')
				if err != nil {
					return
				}
				if line == "\r\n" {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head+"X-Hop: 1\r\nX-End: 2\r\nContent-Length: 0\r\n\r\n")
				}
			}
		})
		opened, err := Open(Settings{Address: app.address})
		if err != nil {
			t.Fatal(err)
		}
		res, err := opened.Invoke(t.Context(), &Request{Verb: "GET", Method: "m"})
		if err != nil {
			t.Fatal(err)
		}
		if res.Header.Has("X-Hop") || !res.Header.Has("X-End") {
			t.Errorf("%q: %v", head, res.Header)
		}
		res.Close()
		_ = opened.Close()
	}
}
