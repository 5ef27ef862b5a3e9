package channel

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestServerSentEvents(t *testing.T) {
	for _, framing := range []string{"chunked", "until close"} {
		t.Run(framing, func(t *testing.T) {
			next := make(chan struct{})
			app := serveRaw(t, func(c *rawConn) {
				if _, err := c.request(); err != nil {
					return
				}
				wrap := func(s string) string { return s }
				if framing == "chunked" {
					c.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
					wrap = func(s string) string { return "9\r\n" + s + "\r\n" }
				} else {
					c.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
				}
				for range next {
					c.say(wrap("data: x\n\n"))
				}
				if framing == "chunked" {
					c.say("0\r\n\r\n")
				}
			})
			channel := openTest(t, Settings{Address: app.address})
			// The header is there before any event.
			res, err := channel.Invoke(testContext(t), &Request{Verb: "GET", Method: "sse"})
			if err != nil {
				t.Fatal(err)
			}
			defer res.Close()
			if res.ContentType != "text/event-stream" || res.Body.Size() != -1 {
				t.Errorf("%q, size %d", res.ContentType, res.Body.Size())
			}
			buffer := make([]byte, 100)
			for range 3 {
				next <- struct{}{}
				n, err := res.Body.Stream.Read(buffer)
				if err != nil || string(buffer[:n]) != "data: x\n\n" {
					t.Fatalf("event %q, %v", buffer[:n], err)
				}
			}
			close(next)
			if n, err := res.Body.Stream.Read(buffer); n != 0 || err != io.EOF {
				t.Errorf("end: %d, %v", n, err)
			}
		})
	}
}

func TestLargeBodies(t *testing.T) {
	const size = 3<<20 + 17
	framings := map[string]func(b []byte) Body{
		"bytes":           func(b []byte) Body { return Body{Bytes: b} },
		"measured stream": func(b []byte) Body { return Body{Stream: strings.NewReader(string(b)), Length: int64(len(b))} },
		"unknown length":  func(b []byte) Body { return Body{Stream: strings.NewReader(string(b)), Length: -1} },
		"one byte a time": func(b []byte) Body { return Body{Stream: oneByte{strings.NewReader(string(b[:2000]))}, Length: -1} },
	}
	for name, body := range framings {
		t.Run(name, func(t *testing.T) {
			app := serveRaw(t, func(c *rawConn) {
				for {
					req, err := c.request()
					if err != nil {
						return
					}
					if req.framing == "chunked" {
						c.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
						for b := req.body; len(b) > 0; {
							n := min(len(b), 4000)
							c.say(hexadecimal(n) + "\r\n" + string(b[:n]) + "\r\n")
							b = b[n:]
						}
						c.say("0\r\n\r\n")
						continue
					}
					c.say("HTTP/1.1 200 OK\r\nContent-Length: " + decimal(len(req.body)) + "\r\n\r\n" + string(req.body))
				}
			})
			channel := openTest(t, Settings{Address: app.address})
			for range 3 {
				sent := body(pattern(size))
				res, err := channel.Invoke(testContext(t), &Request{Verb: "POST", Method: "m", Body: sent})
				if err != nil {
					t.Fatal(err)
				}
				if got := readBody(t, res); !samePattern([]byte(got)) || (len(got) != size && len(got) != 2000) {
					t.Errorf("got %d bytes", len(got))
				}
				res.Close()
			}
			if got := len(app.accepted); got != 1 {
				t.Errorf("%d connections", got)
			}
		})
	}
}

type oneByte struct{ io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.Reader.Read(p[:1]) }

func hexadecimal(n int) string {
	const digits = "0123456789ABCDEF"
	s := ""
	for ; n > 0; n >>= 4 {
		s = string(digits[n&15]) + s
	}
	return s
}

func decimal(n int) string {
	s := ""
	for ; n > 0; n /= 10 {
		s = string(byte('0'+n%10)) + s
	}
	return s
}

func TestBothWaysAtOnce(t *testing.T) {
	app := serveRaw(t, func(c *rawConn) {
		if _, err := c.head(); err != nil {
			return
		}
		c.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for {
			line, err := c.r.ReadString('\n')
			if err != nil {
				return
			}
			data, err := c.r.ReadString('\n')
			if err != nil {
				return
			}
			c.say(line + data)
			if line == "0\r\n" {
				return
			}
		}
	})
	channel := openTest(t, Settings{Address: app.address})
	r, w := io.Pipe()
	res, err := channel.Invoke(testContext(t), &Request{Verb: "POST", Method: "chat", Body: Body{Stream: r, Length: -1}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	buffer := make([]byte, 10)
	for _, word := range []string{"ping", "pong", "x"} {
		if _, err := io.WriteString(w, word); err != nil {
			t.Fatal(err)
		}
		n, err := res.Body.Stream.Read(buffer)
		if err != nil || string(buffer[:n]) != word {
			t.Fatalf("%q, %v", buffer[:n], err)
		}
	}
	_ = w.Close()
	if _, err := res.Body.Stream.Read(buffer); err != io.EOF {
		t.Errorf("end: %v", err)
	}
}

func TestEarlyAnswer(t *testing.T) {
	bodies := map[string]func() (Body, func() bool){
		"a stream nobody feeds": func() (Body, func() bool) {
			r, w := io.Pipe()
			// The pipe is closed for the one who feeds it as soon as the answer is done.
			return Body{Stream: r, Length: -1}, func() bool { _, err := w.Write([]byte("x")); return err == io.ErrClosedPipe }
		},
		"a measured stream nobody feeds": func() (Body, func() bool) {
			r, w := io.Pipe()
			return Body{Stream: r, Length: 100}, func() bool { _, err := w.Write([]byte("x")); return err == io.ErrClosedPipe }
		},
		"large bytes nobody reads": func() (Body, func() bool) {
			return Body{Bytes: make([]byte, 64<<20)}, func() bool { return true }
		},
		"an endless stream": func() (Body, func() bool) {
			return Body{Stream: endless{}, Length: -1}, func() bool { return true }
		},
	}
	for name, body := range bodies {
		for _, answer := range []string{
			"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!",
			"HTTP/1.1 413 Content Too Large\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno!\r\n0\r\n\r\n",
		} {
			t.Run(name, func(t *testing.T) {
				gone := make(chan struct{})
				app := serveRaw(t, func(c *rawConn) {
					defer close(gone)
					if _, err := c.head(); err != nil {
						return
					}
					c.say(answer)
					// The rest of the request ends: the connection is not kept.
					_, _ = io.Copy(io.Discard, c.r)
				})
				channel := openTest(t, Settings{Address: app.address})
				sent, stopped := body()
				res, err := channel.Invoke(testContext(t), &Request{Verb: "POST", Method: "m", Body: sent})
				if err != nil {
					t.Fatal(err)
				}
				if body := readBody(t, res); res.Status != 413 || body != "no!" {
					t.Errorf("%d %q", res.Status, body)
				}
				res.Close()
				await(t, gone, "the end of the connection")
				if !stopped() {
					t.Error("the request's body is still read")
				}
			})
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

var errTooLarge = errors.New("stream too large")

func TestBodyErrors(t *testing.T) {
	cases := map[string]Body{
		"chunked":           {Stream: io.MultiReader(strings.NewReader("abc"), failing{errTooLarge}), Length: -1},
		"measured":          {Stream: io.MultiReader(strings.NewReader("abc"), failing{errTooLarge}), Length: 10},
		"shorter than said": {Stream: strings.NewReader("abc"), Length: 10},
	}
	for name, body := range cases {
		t.Run(name, func(t *testing.T) {
			got := make(chan error, 1)
			app := serveRaw(t, func(c *rawConn) {
				_, err := c.request()
				got <- err
			})
			channel := openTest(t, Settings{Address: app.address})
			_, err := channel.Invoke(testContext(t), &Request{Verb: "POST", Method: "m", Body: body})
			want := errTooLarge
			if name == "shorter than said" {
				want = io.ErrUnexpectedEOF
			}
			if !errors.Is(err, want) || !strings.HasPrefix(err.Error(), `Post "http://`) {
				t.Errorf("got %v", err)
			}
			// The application must not take the part for the whole.
			if err := await(t, got, "the app's view"); name != "measured" && name != "shorter than said" && err == nil {
				t.Error("the app saw a complete body")
			}
		})
	}
	t.Run("after the answer began", func(t *testing.T) {
		app := serveRaw(t, func(c *rawConn) {
			if _, err := c.head(); err != nil {
				return
			}
			c.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
			_, _ = io.Copy(io.Discard, c.r)
		})
		channel := openTest(t, Settings{Address: app.address})
		r, w := io.Pipe()
		res, err := channel.Invoke(testContext(t), &Request{Verb: "POST", Method: "m", Body: Body{Stream: r, Length: -1}})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		_ = w.CloseWithError(errTooLarge)
		if _, err := io.ReadAll(res.Body.Stream); !errors.Is(err, errTooLarge) {
			t.Errorf("got %v", err)
		}
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestAppDiesInItsAnswer(t *testing.T) {
	cases := map[string]string{
		"measured":       "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\npart",
		"chunked":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
		"in a chunk":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\npart",
		"in the trailer": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n",
	}
	for name, answer := range cases {
		t.Run(name, func(t *testing.T) {
			app := serveRaw(t, func(c *rawConn) {
				if _, err := c.request(); err == nil {
					c.say(answer)
				}
			})
			channel := openTest(t, Settings{Address: app.address})
			res, err := channel.Invoke(testContext(t), &Request{Verb: "GET", Method: "m"})
			if err != nil {
				t.Fatal(err)
			}
			defer res.Close()
			body, err := io.ReadAll(res.Body.Stream)
			if string(body) != "part" || err != io.ErrUnexpectedEOF {
				t.Errorf("%q, %v", body, err)
			}
			if _, again := res.Body.Stream.Read(make([]byte, 1)); again != io.ErrUnexpectedEOF {
				t.Errorf("another read: %v", again)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	// stages is how far the application gets before the caller goes away.
	stages := map[string]func(c *rawConn){
		"before the answer": func(c *rawConn) {},
		"in the header":     func(c *rawConn) { c.say("HTTP/1.1 200 OK\r\nX: ") },
		"in a small body":   func(c *rawConn) { c.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi") },
		"in a stream":       func(c *rawConn) { c.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n") },
	}
	for name, stage := range stages {
		for _, upload := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				reached, gone := make(chan struct{}), make(chan struct{})
				app := serveRaw(t, func(c *rawConn) {
					defer close(gone)
					if _, err := c.head(); err != nil {
						return
					}
					stage(c)
					close(reached)
					_, _ = io.Copy(io.Discard, c.r)
				})
				channel := openTest(t, Settings{Address: app.address})
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				go func() {
					<-reached
					cancel()
				}()
				req := &Request{Verb: "GET", Method: "m"}
				if upload {
					r, _ := io.Pipe()
					req.Verb, req.Body = "POST", Body{Stream: r, Length: -1}
				}
				res, err := channel.Invoke(ctx, req)
				if err == nil {
					_, err = io.ReadAll(res.Body.Reader())
				}
				if !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
				await(t, gone, "the app's end of the call")
				res.Close()
			})
		}
	}
	t.Run("a deadline", func(t *testing.T) {
		app := serveRaw(t, func(c *rawConn) { _, _ = c.request(); _, _ = c.request() })
		channel := openTest(t, Settings{Address: app.address})
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		_, err := channel.Invoke(ctx, &Request{Verb: "GET", Method: "m"})
		if want := `Get "http://` + app.address + `/m": context deadline exceeded`; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
	t.Run("closing an answer that is not read", func(t *testing.T) {
		gone := make(chan struct{})
		app := serveRaw(t, func(c *rawConn) {
			defer close(gone)
			if _, err := c.request(); err != nil {
				return
			}
			c.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
			_, _ = io.Copy(io.Discard, c.r)
		})
		channel := openTest(t, Settings{Address: app.address})
		res, err := channel.Invoke(testContext(t), &Request{Verb: "GET", Method: "m"})
		if err != nil {
			t.Fatal(err)
		}
		stream := res.Body.Stream
		res.Close()
		await(t, gone, "the app's end of the call")
		if _, err := stream.Read(make([]byte, 1)); err == nil {
			t.Error("read after close")
		}
	})
	t.Run("a call that is over is not touched", func(t *testing.T) {
		app := serveRaw(t, answerAll(okEmpty, nil))
		channel := openTest(t, Settings{Address: app.address})
		for range 50 {
			ctx, cancel := context.WithCancel(context.Background())
			res, err := channel.Invoke(ctx, &Request{Verb: "GET", Method: "m"})
			if err != nil {
				t.Fatal(err)
			}
			res.Close()
			cancel()
		}
		if got := len(app.accepted); got != 1 {
			t.Errorf("%d connections", got)
		}
	})
}

// TestStreamMemory passes far more than may be held at once, both ways.
func TestStreamMemory(t *testing.T) {
	const size = 256 << 20
	app := serveRaw(t, func(c *rawConn) {
		if _, err := c.head(); err != nil {
			return
		}
		c.say("HTTP/1.1 200 OK\r\nContent-Length: " + decimal(size) + "\r\n\r\n")
		_, _ = io.CopyN(c.Conn, c.r, size)
	})
	channel := openTest(t, Settings{Address: app.address})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	res, err := channel.Invoke(testContext(t), &Request{Verb: "POST", Method: "m", Body: Body{Stream: io.LimitReader(endless{}, size), Length: size}})
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.CopyBuffer(discard{}, res.Body.Stream, make([]byte, 32<<10))
	if err != nil || n != size {
		t.Errorf("%d bytes, %v", n, err)
	}
	res.Close()
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 4<<20 {
		t.Errorf("%d bytes were allocated for a stream of %d", allocated, size)
	}
}

// discard is io.Discard without its own way of reading.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
