package registry

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/nameresolution"
)

// sidecarFolder makes the test binary a process that announces itself in that
// folder and lives until its standard input ends.
const sidecarFolder = "REGISTRY_TEST_SIDECAR_FOLDER"

func TestMain(m *testing.M) {
	if path := os.Getenv(sidecarFolder); path != "" {
		if err := beSidecar(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func beSidecar(path string) error {
	r, err := Open(path)
	if err != nil {
		return err
	}
	err = r.Announce(context.Background(), nameresolution.Announcement{AppID: "child", Host: "127.0.0.1", Port: 7})
	if err != nil {
		return err
	}
	fmt.Println("announced")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func open(t *testing.T, path string) *Registry {
	t.Helper()
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func announce(t *testing.T, path string, a nameresolution.Announcement) *Registry {
	t.Helper()
	r := open(t, path)
	if err := r.Announce(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	return r
}

func files(t *testing.T, path string) []string {
	t.Helper()
	all, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, file := range all {
		names = append(names, file.Name())
	}
	return names
}

func TestResolve(t *testing.T) {
	path := filepath.Join(t.TempDir(), "daprd")
	long := strings.Repeat("x", 300)
	for _, a := range []nameresolution.Announcement{
		{AppID: "app", Host: "127.0.0.1", Port: 1},
		{AppID: "app", Namespace: "default", Host: "::1", Port: 2},
		{AppID: "app", Namespace: "other", Host: "127.0.0.1", Port: 3},
		{AppID: "app.x", Host: "127.0.0.1", Port: 4},
		{AppID: "../../etc/passwd", Host: "127.0.0.1", Port: 5},
		{AppID: "App", Host: "127.0.0.1", Port: 6},
		{AppID: "ä \x00\n", Host: "127.0.0.1", Port: 7},
		{AppID: long, Host: "127.0.0.1", Port: 8},
		{AppID: long + "y", Host: "127.0.0.1", Port: 9},
		{AppID: "", Host: "127.0.0.1", Port: 10},
	} {
		announce(t, path, a)
	}
	r := open(t, path)
	cases := map[string]struct {
		target nameresolution.Target
		want   []string
	}{
		"replicas":         {nameresolution.Target{AppID: "app"}, []string{"127.0.0.1:1", "[::1]:2"}},
		"named default":    {nameresolution.Target{AppID: "app", Namespace: "default"}, []string{"127.0.0.1:1", "[::1]:2"}},
		"other namespace":  {nameresolution.Target{AppID: "app", Namespace: "other"}, []string{"127.0.0.1:3"}},
		"no such":          {nameresolution.Target{AppID: "ap"}, nil},
		"no such in space": {nameresolution.Target{AppID: "app", Namespace: "empty"}, nil},
		"dot":              {nameresolution.Target{AppID: "app.x"}, []string{"127.0.0.1:4"}},
		"path":             {nameresolution.Target{AppID: "../../etc/passwd"}, []string{"127.0.0.1:5"}},
		"capital":          {nameresolution.Target{AppID: "App"}, []string{"127.0.0.1:6"}},
		"odd bytes":        {nameresolution.Target{AppID: "ä \x00\n"}, []string{"127.0.0.1:7"}},
		"long":             {nameresolution.Target{AppID: long}, []string{"127.0.0.1:8"}},
		"longer":           {nameresolution.Target{AppID: long + "y"}, []string{"127.0.0.1:9"}},
		"empty":            {nameresolution.Target{AppID: ""}, []string{"127.0.0.1:10"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := r.Resolve(t.Context(), tc.target)
			slices.Sort(got)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (%v)", diff, err)
			}
			var notFound *nameresolution.NotFoundError
			if tc.want == nil && (!errors.As(err, &notFound) || err.Error() != "couldn't find service: "+tc.target.AppID) {
				t.Errorf("error %v", err)
			}
		})
	}
	if outside := files(t, filepath.Dir(path)); !slices.Equal(outside, []string{"daprd"}) {
		t.Errorf("files outside of the folder: %q", outside)
	}
}

func TestEntryOfDeadProcessIsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "daprd")
	r := open(t, path)
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), sidecarFolder+"="+path)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "announced\n" {
		t.Fatal(line, err)
	}
	target := nameresolution.Target{AppID: "child"}
	if got, err := r.Resolve(t.Context(), target); !slices.Equal(got, []string{"127.0.0.1:7"}) {
		t.Errorf("while it lives: %v, %v", got, err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	if got := files(t, path); len(got) != 1 {
		t.Fatalf("the killed process was to leave its entry: %q", got)
	}
	if got, err := r.Resolve(t.Context(), target); err == nil {
		t.Errorf("after its death: %v", got)
	}
	if got := files(t, path); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
}

func TestAnnounceClearsAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "daprd")
	live := announce(t, path, nameresolution.Announcement{AppID: "live", Host: "h", Port: 1})
	for name, age := range map[string]time.Duration{
		"dead.A.json":            0,
		draftPrefix + "old.json": time.Hour,
		draftPrefix + "new.json": 0,
		"note.txt":               time.Hour,
	} {
		file := filepath.Join(path, name)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(file, then, then); err != nil {
			t.Fatal(err)
		}
	}
	own := announce(t, path, nameresolution.Announcement{AppID: "own", Host: "h", Port: 1})
	want := []string{draftPrefix + "new.json", live.name, "note.txt", own.name}
	if diff := cmp.Diff(want, files(t, path)); diff != "" {
		t.Error(diff)
	}
}

func TestAnnounceAgainReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "daprd")
	r := announce(t, path, nameresolution.Announcement{AppID: "app", Host: "h", Port: 1})
	if err := r.Announce(t.Context(), nameresolution.Announcement{AppID: "app", Host: "h", Port: 2}); err != nil {
		t.Fatal(err)
	}
	got, err := r.Resolve(t.Context(), nameresolution.Target{AppID: "app"})
	if err != nil || !slices.Equal(got, []string{"h:2"}) {
		t.Errorf("%v, %v", got, err)
	}
	if err := r.Withdraw(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := files(t, path); len(got) != 0 {
		t.Errorf("after withdrawal: %q", got)
	}
	if err := r.Withdraw(t.Context()); err != nil {
		t.Errorf("second withdrawal: %v", err)
	}
}

func TestEntryIsPrivateAndReadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "daprd")
	r := announce(t, path, nameresolution.Announcement{AppID: "app", Host: "h", Port: 1, HTTPPort: 2, AppPort: 3, InstanceID: "i"})
	info, err := os.Stat(filepath.Join(path, r.name))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	data, err := os.ReadFile(filepath.Join(path, r.name))
	if err != nil {
		t.Fatal(err)
	}
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	e.Announced = time.Time{}
	want := entry{AppID: "app", Namespace: "default", Address: "h:1", HTTPPort: 2, AppPort: 3, Instance: "i", PID: os.Getpid()}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Error(diff)
	}
}

func TestOpenRefuses(t *testing.T) {
	cases := map[string]struct {
		prepare func(t *testing.T, path string)
		want    string
	}{
		"open to a group": {func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, 0o750); err != nil {
				t.Fatal(err)
			}
		}, "is open to other users (mode 0750, must be 0700)"},
		"link": {func(t *testing.T, path string) {
			if err := os.Mkdir(path+"-real", 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(path+"-real", path); err != nil {
				t.Fatal(err)
			}
		}, "is a symbolic link"},
		"file": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "open registry folder"},
		"no parent": {func(t *testing.T, path string) {
			if err := os.Remove(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
		}, "registry folder"},
		"another user's": {func(t *testing.T, path string) {
			if os.Geteuid() != 0 {
				t.Skip("only root can give a folder away")
			}
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(path, 4242, 4242); err != nil {
				t.Fatal(err)
			}
		}, "belongs to user 4242, not to user 0 who runs this process"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "parent", "daprd")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			tc.prepare(t, path)
			r, err := Open(path)
			if err == nil {
				r.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %q does not say %q of %s", err, tc.want, path)
			}
		})
	}
}

func TestPath(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	runtime := t.TempDir()
	own := filepath.Join(temporary, fmt.Sprintf("daprd-%d", os.Geteuid()))
	for value, want := range map[string]string{
		runtime:                          filepath.Join(runtime, "daprd"),
		"":                               own,
		"relative":                       own,
		filepath.Join(runtime, "absent"): own,
	} {
		t.Setenv("XDG_RUNTIME_DIR", value)
		if got := Path(); got != want {
			t.Errorf("XDG_RUNTIME_DIR=%q: %s, want %s", value, got, want)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "daprd")
	announce(t, path, nameresolution.Announcement{AppID: "steady", Host: "h", Port: 1})
	var group sync.WaitGroup
	for range 8 {
		r := open(t, path)
		group.Go(func() {
			for range 20 {
				if err := r.Announce(t.Context(), nameresolution.Announcement{AppID: "app", Host: "h", Port: 2}); err != nil {
					t.Error(err)
				}
				if got, err := r.Resolve(t.Context(), nameresolution.Target{AppID: "steady"}); !slices.Equal(got, []string{"h:1"}) {
					t.Errorf("%v, %v", got, err)
				}
				if _, err := r.Resolve(t.Context(), nameresolution.Target{AppID: "app"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add([]byte(`{"appId":"a","namespace":"default","address":"127.0.0.1:1"}`))
	f.Add([]byte(`{"address":"[::1]:1"}`))
	f.Add([]byte(`{"address":":1"}`))
	f.Add([]byte(``))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := decodeEntry(bytes.NewReader(data))
		if err == nil && (e.Address == "" || len(data) > maxEntrySize) {
			t.Errorf("accepted %q as %+v", data, e)
		}
	})
}

func FuzzEscape(f *testing.F) {
	f.Add("app", "App")
	f.Add("a.b", "a%2Eb")
	f.Add("../x", "/etc/passwd")
	f.Fuzz(func(t *testing.T, a, b string) {
		if (a == b) != (escape(a) == escape(b)) {
			t.Errorf("%q and %q share the name %q", a, b, escape(a))
		}
		if name := newName(a); name != filepath.Base(name) || len(name) > 255-len(draftPrefix) || strings.HasPrefix(name, draftPrefix) || strings.ContainsAny(name, "/\\\x00") {
			t.Errorf("name %q of %q", name, a)
		}
	})
}
