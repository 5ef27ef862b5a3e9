package channel

import (
	"context"
	"io"
	"net"
	"net/url"
	"path"
	"strings"
	"testing"
	"time"
)

func FuzzMethod(f *testing.F) {
	for _, seed := range []string{"", "a", "/a//b/../c/./d", "a/", "../..", "a%2Fb", "café", "a b", "a#b", "a?b", "a\x00", "..a", "a/..", "/", ".", "a/.", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, decoded string) {
		method, err := CanonicalMethod(decoded)
		if strings.ContainsAny(decoded, "#?\x00\n\r") && err == nil {
			t.Fatalf("%q was not refused", decoded)
		}
		if err != nil {
			return
		}
		if again, err := CanonicalMethod(method); err != nil || again != method {
			t.Fatalf("%q becomes %q, then %q (%v)", decoded, method, again, err)
		}
		rooted := "/" + method
		if clean := path.Clean(rooted); clean != rooted && clean+"/" != rooted {
			t.Fatalf("%q becomes %q, which is not clean", decoded, method)
		}
		escaped := string(EscapeMethod(nil, method))
		if back, err := url.PathUnescape(escaped); err != nil || back != method {
			t.Fatalf("%q escaped is %q, which reads %q (%v)", method, escaped, back, err)
		}
		for i := range len(escaped) {
			if c := escaped[i]; c <= ' ' || c >= 0x7f || c == '?' || c == '#' {
				t.Fatalf("%q escaped is %q", method, escaped)
			}
		}
	})
}

// FuzzAnswer gives any bytes as an application's answer: it ends, and what it lends out fits the bounds.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		okEmpty, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nall",
		"HTTP/1.1 100 Continue\r\n\r\n" + okEmpty, "HTTP/1.1 200 OK\r\nConnection: a, close\r\nA: b\r\nContent-Length: 99999\r\n\r\nx",
		"HTTP/1.1 101 S\r\n\r\n", "\r\n\r\n", "HTTP/1.1 999 \r\n: x\r\n\r\n",
	} {
		f.Add(seed, "GET")
		f.Add(seed, "HEAD")
	}
	f.Fuzz(func(t *testing.T, answer, verb string) {
		if checkVerb(verb) != nil {
			return
		}
		p := newPool("", nil)
		app := newHTTP1(target{scheme: "http", host: "app"}, p)
		ours, theirs := net.Pipe()
		defer ours.Close()
		go func() {
			defer theirs.Close()
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			_, _ = io.WriteString(theirs, answer)
		}()
		c := &conn{Conn: ours, raw: ours, pool: p}
		c.abort = c.close
		p.register(c)
		p.put(c)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		res, err := app.Invoke(ctx, &Request{Verb: verb, Method: "m", Body: Body{Stream: strings.NewReader(""), Length: 0}})
		if ctx.Err() != nil {
			t.Fatal("it did not end")
		}
		if err == nil {
			body, _ := io.ReadAll(res.Body.Reader())
			if len(body) > len(answer) || res.Status < 200 {
				t.Fatalf("status %d, %d bytes of %d", res.Status, len(body), len(answer))
			}
			for _, field := range res.Header {
				if dropped(field.Name) || strings.ContainsAny(field.Name+field.Value, "\r\n") {
					t.Fatalf("header %q", field)
				}
			}
			res.Close()
		}
		_ = app.Close()
	})
}
