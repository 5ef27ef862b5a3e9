package config_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/config"
)

// TestWatch: a burst of changes is one, an interval without a change is none, and a nil Watcher sees none.
func TestWatch(t *testing.T) {
	resources, settings := t.TempDir(), t.TempDir()
	w, err := config.Watch([]string{resources}, []string{filepath.Join(settings, "c.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, folder := range []string{resources, settings} {
		for _, name := range []string{"a.yaml", "b.yaml", "c.yaml"} {
			if err := os.WriteFile(filepath.Join(folder, name), []byte("a: 1\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if !w.Next(t.Context(), time.Minute) {
			t.Errorf("no change of %s is seen", folder)
		}
		if w.Next(t.Context(), 10*time.Millisecond) {
			t.Errorf("the change of %s is seen twice", folder)
		}
	}
	// A folder that comes back is looked at again.
	if err := errors.Join(os.RemoveAll(resources), os.Mkdir(resources, 0o700)); err != nil {
		t.Fatal(err)
	}
	for w.Next(t.Context(), 10*time.Millisecond) {
	}
	if err := os.WriteFile(filepath.Join(resources, "a.yaml"), []byte("a: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !w.Next(t.Context(), time.Minute) {
		t.Error("no change is seen in the folder that came back")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if w.Next(ended, time.Minute) {
		t.Error("a change after the end")
	}
	var none *config.Watcher
	if none.Next(t.Context(), time.Millisecond) || none.Close() != nil {
		t.Error("a nil Watcher sees something")
	}
	if w, err := config.Watch([]string{filepath.Join(settings, "absent")}, nil); err == nil || w == nil || w.Close() != nil {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func TestChanged(t *testing.T) {
	a, b := config.DefaultConfiguration(), config.DefaultConfiguration()
	if got := a.Changed(b); len(got) > 0 {
		t.Errorf("changed %v", got)
	}
	b.Spec.Tracing.SamplingRate = "1"
	b.Spec.Features = []config.Feature{{Name: "x"}}
	if diff := cmp.Diff([]string{"tracing", "features"}, a.Changed(b)); diff != "" {
		t.Error(diff)
	}
}

// TestSame: where a resource stands is not part of it.
func TestSame(t *testing.T) {
	one := config.Component{Meta: config.Meta{Name: "a"}, Origin: config.Origin{File: "x"}, Fault: errors.New("no type")}
	two := config.Component{Meta: config.Meta{Name: "a"}, Origin: config.Origin{File: "y"}, Fault: errors.New("no type")}
	if !one.Same(&two) {
		t.Error("they differ by their place")
	}
	two.Fault = nil
	if one.Same(&two) {
		t.Error("a fault makes no difference")
	}
	two.Fault, two.Spec.Metadata = one.Fault, []config.Property{{Name: "p"}}
	if one.Same(&two) {
		t.Error("a property makes no difference")
	}
}
