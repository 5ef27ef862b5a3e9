package localstorage_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/bindings/bindingstest"
	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/components/localstorage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a binding, its root, and a folder beside it that nothing may reach.
type bench struct {
	bindings.Output
	root, outside string
}

func newBench(t testing.TB, properties ...string) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{root: filepath.Join(dir, "deep", "root"), outside: filepath.Join(dir, "outside")}
	if err := os.Mkdir(b.outside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.outside, "secret"), []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"rootPath": b.root}
	for i := 0; i+1 < len(properties); i += 2 {
		all[properties[i]] = properties[i+1]
	}
	var err error
	if b.Output, err = localstorage.NewOutput(t.Context(), componentstest.Spec("bindings.localstorage", all)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Output.(io.Closer).Close() })
	return b
}

// do runs an operation and gives its answer or its error as text.
func (b *bench) do(t testing.TB, operation, name, data string) string {
	t.Helper()
	var metadata map[string]string
	if name != "" {
		metadata = map[string]string{"fileName": name}
	}
	answer, err := b.Invoke(t.Context(), &bindings.Request{Operation: operation, Data: []byte(data), Metadata: metadata})
	switch {
	case err != nil:
		return "error: " + err.Error()
	case answer == nil:
		return ""
	}
	return string(answer.Data)
}

// untouched fails if what lies outside the root has changed.
func (b *bench) untouched(t testing.TB) {
	t.Helper()
	entries, err := os.ReadDir(b.outside)
	if err != nil || len(entries) != 1 {
		t.Errorf("outside: %v, %v", entries, err)
	}
	if text, err := os.ReadFile(filepath.Join(b.outside, "secret")); err != nil || string(text) != "hunter2" {
		t.Errorf("the secret outside: %q, %v", text, err)
	}
	if entries, err = os.ReadDir(filepath.Dir(b.outside)); err != nil || len(entries) != 2 {
		t.Errorf("around the root: %v, %v", entries, err)
	}
}

func TestReadmeManifest(t *testing.T) {
	root := t.TempDir()
	o, err := localstorage.NewOutput(t.Context(), componentstest.FromReadme(t, "bindings.localstorage", "/tmp/files", root))
	if err != nil {
		t.Fatal(err)
	}
	defer o.(io.Closer).Close()
	if _, err := o.Invoke(t.Context(), &bindings.Request{Operation: "create", Data: []byte("x y"), Metadata: map[string]string{"fileName": "a"}}); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(root, "a")); err != nil || string(text) != "x y" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestConformance(t *testing.T) {
	name := map[string]string{"fileName": "a/b"}
	bindingstest.Output(t, newBench(t), bindings.Request{Operation: "create", Data: []byte("x"), Metadata: name},
		bindings.Request{Operation: "get", Metadata: name}, bindings.Request{Operation: "list"}, bindings.Request{Operation: "delete", Metadata: name})
}

func TestFiles(t *testing.T) {
	b := newBench(t)
	if got := b.do(t, "list", "", ""); got != "null" {
		t.Errorf("an empty root: %s", got)
	}
	for _, step := range []struct{ operation, name, data, want string }{
		{"create", "a", "plain text", `{"fileName":"a"}`},
		{"get", "a", "", "plain text"},
		{"create", "a", "anew", `{"fileName":"a"}`},
		{"create", "dir/sub/b", "two", `{"fileName":"dir/sub/b"}`},
		{"create", "/dir/c", "-", `{"fileName":"dir/c"}`},
		{"get", "dir//sub/../c", "", "-"},
		{"get", "absent", "", "error: file not found: " + b.root + "/absent"},
		{"get", "dir", "", "error: get dir: it is no file"},
		{"list", "dir", "", fmt.Sprintf("[%q,%q]", b.root+"/dir/c", b.root+"/dir/sub/b")},
		{"list", "", "", fmt.Sprintf("[%q,%q,%q]", b.root+"/a", b.root+"/dir/c", b.root+"/dir/sub/b")},
		{"list", "a", "", "error: list a: it is no folder"},
		{"list", "absent", "", "error: file not found: " + b.root + "/absent"},
		{"create", "a/b", "x", "error: create a/b: file exists"},
		{"create", "dir", "x", "error: create dir: file exists"},
		{"delete", "dir", "", "error: delete dir: directory not empty"},
		{"delete", "dir/c", "", ""},
		{"delete", "dir/c", "", "error: file not found: " + b.root + "/dir/c"},
		{"get", "", "", `error: the metadata "fileName" is missing or names the root itself: want the path of a file below it`},
		{"create", "/", "", `error: the metadata "fileName" is missing or names the root itself: want the path of a file below it`},
		{"delete", "..", "", `error: the metadata "fileName" is missing or names the root itself: want the path of a file below it`},
	} {
		if got := b.do(t, step.operation, step.name, step.data); got != step.want {
			t.Errorf("%s %s: %s, want %s", step.operation, step.name, got, step.want)
		}
	}
	if entries, err := os.ReadDir(b.root); err != nil || len(entries) != 2 {
		t.Errorf("left in the root: %v, %v", entries, err)
	}
	b.untouched(t)
}

func TestRandomName(t *testing.T) {
	b := newBench(t)
	var made struct{ FileName string }
	if err := json.Unmarshal([]byte(b.do(t, "create", "", "x y")), &made); err != nil || uuid.Validate(made.FileName) != nil {
		t.Fatalf("%q, %v", made.FileName, err)
	}
	if got := b.do(t, "get", made.FileName, ""); got != "x y" {
		t.Error(got)
	}
}

func TestContent(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte("\x00\xff bytes"))
	for data, want := range map[string]string{
		"a text":              "a text",
		`"a text"`:            "a text",
		`"with \"quotes\" é"`: `with "quotes" é`,
		encoded:               "\x00\xff bytes",
		`"` + encoded + `"`:   "\x00\xff bytes",
		`{"a": 1}`:            `{"a": 1}`,
		`"not closed`:         `"not closed`,
		`"`:                   `"`,
		"\x00\xff":            "\x00\xff",
		"":                    "",
	} {
		b := newBench(t)
		b.do(t, "create", "a", data)
		if got := b.do(t, "get", "a", ""); got != want {
			t.Errorf("%q: %q, want %q", data, got, want)
		}
	}
}

// TestEscapes: no name and no link leads out of the root, for no operation.
func TestEscapes(t *testing.T) {
	names := []string{"../outside/secret", "../../outside/secret", "a/../../../outside/secret", "/../outside/secret", "..//..//outside/secret",
		"link", "link/", "folder/secret", "folder/../outside/secret", "absolute", "chain", "up/outside/secret", "up/../outside/secret", "loop",
		"secret\x00", "\x00", "../outside/secret\x00", strings.Repeat("a/", 3000)}
	for _, operation := range []string{"get", "create", "delete", "list"} {
		for _, name := range append(names, "OUTSIDE/secret", "OUTSIDE") {
			b := newBench(t)
			for link, target := range map[string]string{"link": "../../outside/secret", "folder": "../../outside", "absolute": filepath.Join(b.outside, "secret"),
				"chain": "folder/secret", "up": "../..", "loop": "loop"} {
				if err := os.Symlink(target, filepath.Join(b.root, link)); err != nil {
					t.Fatal(err)
				}
			}
			name = strings.ReplaceAll(name, "OUTSIDE", b.outside)
			got := b.do(t, operation, name, "overwritten")
			var listed []string
			if operation == "list" && json.Unmarshal([]byte(got), &listed) == nil {
				listed = slices.DeleteFunc(listed, func(file string) bool { return strings.HasPrefix(file, b.root+"/") })
			}
			if strings.Contains(got, "hunter2") || len(listed) > 0 {
				t.Errorf("%s %q: %s", operation, name, got)
			}
			b.untouched(t)
		}
	}
}

// TestSwappedLinks: a folder that becomes a link while files are written leads nowhere either.
func TestSwappedLinks(t *testing.T) {
	b := newBench(t)
	var wait sync.WaitGroup
	stop := make(chan struct{})
	wait.Go(func() {
		path := filepath.Join(b.root, "dir")
		for {
			select {
			case <-stop:
				return
			default:
				_ = os.RemoveAll(path)
				_ = os.Symlink("../../outside", path)
				_ = os.Remove(path)
				_ = os.Mkdir(path, 0o700)
			}
		}
	})
	for range 500 {
		b.do(t, "create", "dir/secret", "overwritten")
		if got := b.do(t, "get", "dir/secret", ""); strings.Contains(got, "hunter2") {
			t.Fatal(got)
		}
	}
	close(stop)
	wait.Wait()
	b.untouched(t)
}

// TestWhatIsNoFile: a pipe would keep its reader waiting.
func TestWhatIsNoFile(t *testing.T) {
	b := newBench(t)
	if err := syscall.Mkfifo(filepath.Join(b.root, "pipe"), 0o600); err != nil {
		t.Skip(err)
	}
	if got := b.do(t, "get", "pipe", ""); got != "error: get pipe: it is no file" {
		t.Error(got)
	}
}

func TestLimit(t *testing.T) {
	b := newBench(t, "maxFileSize", "10")
	if got := b.do(t, "create", "a", "0123456789."); got != "error: create a: the file has more than 10 bytes; the metadata property maxFileSize allows more" {
		t.Error(got)
	}
	if got := b.do(t, "create", "a", "0123456.89"); got != `{"fileName":"a"}` {
		t.Error(got)
	}
	if got := b.do(t, "get", "a", ""); got != "0123456.89" {
		t.Error(got)
	}
	if err := os.WriteFile(filepath.Join(b.root, "large"), make([]byte, 11), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := b.do(t, "get", "large", ""); !strings.HasPrefix(got, "error: get large: the file has more than 10 bytes") {
		t.Error(got)
	}
}

// TestWholeOrNot: a reader never sees a part of a file that is written at the moment.
func TestWholeOrNot(t *testing.T) {
	b := newBench(t)
	contents := []string{strings.Repeat("a.", 1<<18), strings.Repeat("b.", 1<<18)}
	b.do(t, "create", "f", contents[0])
	var wait sync.WaitGroup
	wait.Go(func() {
		for i := range 50 {
			b.do(t, "create", "f", contents[i%2])
		}
	})
	for range 50 {
		if got := b.do(t, "get", "f", ""); !slices.Contains(contents, got) {
			t.Errorf("%d bytes", len(got))
		}
	}
	wait.Wait()
	if got := b.do(t, "list", "", ""); got != fmt.Sprintf("[%q]", b.root+"/f") {
		t.Error(got)
	}
}

func TestRefusedRoots(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/proc/self", link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"": "metadata property rootPath is missing", "/": "/ is not allowed", "/proc": "/proc is not allowed", "/proc/self/fd": "is not allowed",
		"/sys/x": "is not allowed", "/boot": "is not allowed", "/dev/shm": "is not allowed", "/var/run/secrets/x": "is not allowed", "/var/run": "is not allowed",
		"/run/secrets": "is not allowed", "/tmp/../proc": "/proc is not allowed", link: "is not allowed",
	} {
		_, err := localstorage.NewOutput(t.Context(), componentstest.Spec("bindings.localstorage", map[string]string{"rootPath": path}))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", path, err)
		}
	}
	for size, want := range map[string]string{"many": `metadata property maxFileSize: "many" is no size`, "-1": "it has to be more than 0"} {
		_, err := localstorage.NewOutput(t.Context(), componentstest.Spec("bindings.localstorage", map[string]string{"rootPath": t.TempDir(), "maxFileSize": size}))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", size, err)
		}
	}
}

func FuzzFileName(f *testing.F) {
	for _, seed := range []string{"a", "a/b", "../outside/secret", "/etc/passwd", "link/secret", "a\x00b", ".", "..", "//", "a/./../..", "\\..\\", "link/../x"} {
		f.Add(seed, "some data")
	}
	b := newBench(f)
	if err := os.Symlink("../../outside", filepath.Join(b.root, "link")); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, data string) {
		made := b.do(t, "create", name, data)
		if strings.HasPrefix(made, "error: ") {
			b.untouched(t)
			return
		}
		var answer struct{ FileName string }
		if err := json.Unmarshal([]byte(made), &answer); err != nil {
			t.Fatal(made)
		}
		if name != "" {
			if diff := cmp.Diff(b.do(t, "get", name, ""), b.do(t, "get", answer.FileName, "")); diff != "" && strings.ToValidUTF8(name, "") == name {
				t.Error(diff)
			}
		}
		b.do(t, "delete", cleanOr(name, answer.FileName), "")
		b.untouched(t)
	})
}

func cleanOr(name, other string) string {
	if name == "" {
		return other
	}
	return name
}
