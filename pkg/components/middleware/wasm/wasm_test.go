package wasm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/middleware"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, file, config string) (middleware.Middleware, *logtest.Hook) {
	t.Helper()
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	spec := componentstest.Spec("middleware.http.wasm", map[string]string{"url": "file://" + path, "guestConfig": config})
	log, hook := logtest.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	spec.Log = log
	instance, err := New(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := instance.(io.Closer).Close(); err != nil {
			t.Error(err)
		}
	})
	return instance, hook
}

// echo answers with what it got.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Path", r.URL.Path)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	w.Write(body)
}

func call(m middleware.Middleware, r *http.Request, next http.HandlerFunc) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	m.Wrap(next).ServeHTTP(w, r)
	return w
}

func TestGuestGuards(t *testing.T) {
	m, _ := start(t, "testdata/auth.wasm", "")
	for name, test := range map[string]struct {
		authorization []string
		want          int
	}{
		"nobody": {nil, 401}, "wrong": {[]string{"Basic x"}, 401}, "right": {[]string{"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}, 202},
		"two": {[]string{"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Basic x"}, 401},
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader("hello"))
		r.Header["Authorization"] = test.authorization
		if w := call(m, r, echo); w.Code != test.want || w.Code == 202 && w.Body.String() != "hello" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

func TestGuestRewrites(t *testing.T) {
	m, _ := start(t, "testdata/router.wasm", "")
	if w := call(m, httptest.NewRequest("GET", "/host/v1.0/a?b=c", nil), echo); w.Code != 202 || w.Header().Get("X-Path") != "/v1.0/a" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := call(m, httptest.NewRequest("GET", "/other", nil), echo); w.Code != 200 || w.Body.String() != "hello world" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestGuestSeesBodies: one that reads bodies changes them where it wants, and leaves them whole where not, in whatever
// pieces they come.
func TestGuestSeesBodies(t *testing.T) {
	m, _ := start(t, "testdata/redact.wasm", "secrets")
	for name, from := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader, "data and end at once": iotest.DataErrReader,
	} {
		for body, want := range map[string]string{"the secrets here": "the ####### here", "nothing": "nothing", "": ""} {
			var got []byte
			w := call(m, httptest.NewRequest("POST", "/", from(strings.NewReader(body))), func(w http.ResponseWriter, r *http.Request) {
				got, _ = io.ReadAll(r.Body)
				w.Header().Set("Content-Length", "8")
				io.WriteString(w, "secrets")
			})
			if string(got) != want || w.Body.String() != "#######" || w.Header().Get("Content-Length") != "" {
				t.Errorf("%s: %q became %q, and the answer %q", name, body, got, w.Body)
			}
		}
	}
}

// TestGuestReadsWithoutBuffering: what a guest reads is there behind it all the same.
func TestGuestReadsWithoutBuffering(t *testing.T) {
	code, err := os.ReadFile("testdata/read_body_stream.wasm")
	if err != nil {
		t.Fatal(err)
	}
	// The guest answers itself, by "i64.const 0, return", and its handle_response is "unreachable"; here it lets pass, by
	// "i64.const 1, return", and its handle_response is "nop".
	for old, patch := range map[string]string{"\x42\x00\x0f": "\x42\x01\x0f", "\x00\x00\x0b": "\x00\x01\x0b"} {
		if bytes.Count(code, []byte(old)) != 1 {
			t.Fatalf("%x is not there once", old)
		}
		code = bytes.Replace(code, []byte(old), []byte(patch), 1)
	}
	file := filepath.Join(t.TempDir(), "guest.wasm")
	if err := os.WriteFile(file, code, 0o600); err != nil {
		t.Fatal(err)
	}
	m, _ := start(t, file, "")
	body := strings.Repeat("0123456789", 10_000)
	if w := call(m, httptest.NewRequest("POST", "/", strings.NewReader(body)), echo); w.Code != 202 || w.Body.String() != body {
		t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
	}
}

func TestGuestFails(t *testing.T) {
	m, hook := start(t, "testdata/panic_on_handle_request.wasm", "")
	w := call(m, httptest.NewRequest("GET", "/", nil), echo)
	if w.Code != 500 || strings.Contains(w.Body.String(), "wasm") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	var log strings.Builder
	for _, entry := range hook.AllEntries() {
		log.WriteString(entry.Message + "\n")
	}
	if !strings.Contains(log.String(), "panic!") || !strings.Contains(log.String(), "unreachable") {
		t.Errorf("the log: %s", &log)
	}
}

// TestBreakOff: an answer that breaks off does not become whole.
func TestBreakOff(t *testing.T) {
	for _, guest := range []string{"testdata/router.wasm", "testdata/redact.wasm"} {
		m, _ := start(t, guest, "secret")
		func() {
			defer func() {
				if cause := recover(); cause != http.ErrAbortHandler {
					t.Errorf("%s: it ended with %v", guest, cause)
				}
			}()
			call(m, httptest.NewRequest("GET", "/host/x", nil), func(w http.ResponseWriter, _ *http.Request) {
				io.WriteString(w, "a half")
				panic(http.ErrAbortHandler)
			})
		}()
	}
}

func TestBrokenUpload(t *testing.T) {
	m, _ := start(t, "testdata/redact.wasm", "secret")
	broken := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errors.New("gone")))
	if w := call(m, httptest.NewRequest("POST", "/", broken), echo); w.Code != 500 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestSources(t *testing.T) {
	server := httptest.NewServer(http.FileServer(http.Dir("testdata")))
	defer server.Close()
	for address, want := range map[string]string{
		server.URL + "/router.wasm": "", server.URL + "/missing.wasm": "answers 404", "ftp://x/y": `the scheme "ftp" is not known`,
		"guest.wasm": `the scheme "" is not known`, "file://testdata/router.wasm": "", "file:///nowhere/x.wasm": "no such file",
		"file://testdata/README.md": "cannot be started", "file://testdata/config.wasm": "cannot be started", "": "is missing",
	} {
		instance, err := New(t.Context(), componentstest.Spec("middleware.http.wasm", map[string]string{"url": address}))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: error %v", address, err)
		}
		if closer, ok := instance.(io.Closer); ok && err == nil {
			closer.Close()
		}
	}
}

func TestReadme(t *testing.T) {
	for _, strict := range []bool{false, true} {
		spec := componentstest.FromReadme(t, "middleware.http.wasm", "guest.wasm", "testdata/auth.wasm")
		spec.StrictSandbox = strict
		instance, err := New(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		instance.(io.Closer).Close()
	}
}

// TestManyAtOnce: each request in the guest at one time has an instance of its own.
func TestManyAtOnce(t *testing.T) {
	m, _ := start(t, "testdata/redact.wasm", "secrets")
	inside, goOn := make(chan struct{}), make(chan struct{})
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			w := call(m, httptest.NewRequest("POST", "/", strings.NewReader("the secrets here")), func(w http.ResponseWriter, r *http.Request) {
				inside <- struct{}{}
				<-goOn
				echo(w, r)
			})
			if w.Code != 202 || w.Body.String() != "the ####### here" {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	for range 8 {
		<-inside
	}
	close(goOn)
	wait.Wait()
}

// TestEndlessGuest: a guest that goes on ends with the request, and the next request has another instance.
func TestEndlessGuest(t *testing.T) {
	code, err := os.ReadFile("testdata/read_body_stream.wasm")
	if err != nil {
		t.Fatal(err)
	}
	// Its loop goes on unless read_body says "end"; here it compares with what never comes: "i64.ne" becomes "i64.eq".
	endless := bytes.Replace(code, []byte{0x23, 0x00, 0x52, 0x0d}, []byte{0x23, 0x00, 0x51, 0x0d}, 1)
	file := filepath.Join(t.TempDir(), "guest.wasm")
	if err := os.WriteFile(file, endless, 0o600); err != nil {
		t.Fatal(err)
	}
	m, _ := start(t, file, "")
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		read := make(chan struct{})
		body := io.MultiReader(readerFunc(func([]byte) (int, error) {
			defer close(read)
			return 0, io.EOF
		}))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			defer func() { _ = recover() }()
			call(m, httptest.NewRequest("POST", "/", body).WithContext(ctx), echo)
		}()
		<-read
		cancel()
		<-ended
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
