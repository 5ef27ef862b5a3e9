package metadata_test

import (
	"github.com/daprd/daprd/pkg/pubsub"

	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/metadata"
)

func service() *metadata.Service {
	return metadata.New(metadata.Sources{
		ID: "app", RuntimeVersion: "1.2.3",
		EnabledFeatures: func() []string { return []string{"F"} },
		Components: func() []metadata.Component {
			return []metadata.Component{{Name: "c", Type: "state.redis", Version: "v1"}}
		},
		HTTPEndpoints: func() []string { return []string{"e"} },
		Resiliencies:  func() []string { return []string{"r"} },
		Subscriptions: func() []pubsub.Subscription { return nil },
		Actors:        func() []metadata.ActorCount { return nil },
		ActorRuntime:  func() metadata.ActorRuntime { return metadata.ActorRuntime{Status: metadata.ActorsDisabled} },
		App:           func() metadata.AppConnection { return metadata.AppConnection{Port: 6000, Protocol: "http"} },
	})
}

func TestInfo(t *testing.T) {
	s := service()
	for _, pair := range [][2]string{{"cliPID", "7"}, {"cliPID", "8"}, {"", "nothing"}} {
		if err := s.Set(pair[0], pair[1]); err != nil {
			t.Fatal(err)
		}
	}
	want := metadata.Info{
		ID: "app", RuntimeVersion: "1.2.3", EnabledFeatures: []string{"F"}, HTTPEndpoints: []string{"e"}, Resiliencies: []string{"r"},
		Components:   []metadata.Component{{Name: "c", Type: "state.redis", Version: "v1"}},
		Extended:     map[string]string{"cliPID": "8", "daprRuntimeVersion": "1.2.3"},
		App:          metadata.AppConnection{Port: 6000, Protocol: "http"},
		ActorRuntime: metadata.ActorRuntime{Status: metadata.ActorsDisabled},
	}
	if diff := cmp.Diff(want, s.Info()); diff != "" {
		t.Error(diff)
	}
}

func TestAttributesAreBounded(t *testing.T) {
	s := service()
	for i := range 1000 {
		if err := s.Set(fmt.Sprint(i), "v"); err != nil {
			t.Fatal(err)
		}
	}
	if e := apierr.From(s.Set("one more", "v")); e == nil || e.HTTP != 400 {
		t.Errorf("the 1001st attribute: %v", e)
	}
	if err := s.Set("5", "new"); err != nil {
		t.Errorf("an attribute that is there already: %v", err)
	}
	if got := s.Info().Extended["5"]; got != "new" {
		t.Errorf("attribute 5 is %q", got)
	}
}

func TestHealth(t *testing.T) {
	h := metadata.NewHealth("app")
	if e := apierr.From(h.Check("")); e == nil || e.Code != "ERR_HEALTH_NOT_READY" || e.Message != "dapr is not ready: [runtime]" {
		t.Errorf("before the start: %v", e)
	}
	if e := apierr.From(h.CheckOutbound()); e == nil || e.Code != "ERR_OUTBOUND_HEALTH_NOT_READY" {
		t.Errorf("outbound before the start: %v", e)
	}
	h.SetOutbound(true)
	if err := h.CheckOutbound(); err != nil {
		t.Errorf("outbound: %v", err)
	}
	if h.Check("") == nil {
		t.Error("outbound alone makes it ready")
	}
	h.SetReady(true)
	for _, id := range []string{"", "app"} {
		if err := h.Check(id); err != nil {
			t.Errorf("ready, asked for %q: %v", id, err)
		}
	}
	if e := apierr.From(h.Check("other")); e == nil || e.Code != "ERR_HEALTH_APPID_NOT_MATCH" {
		t.Errorf("asked for another app: %v", e)
	}
}

func TestAttributesAreBoundedTogether(t *testing.T) {
	s := service()
	half := strings.Repeat("x", 512<<10)
	if err := s.Set("a", half); err != nil {
		t.Fatal(err)
	}
	if e := apierr.From(s.Set("b", half)); e == nil || e.HTTP != 400 {
		t.Errorf("more than 1 MiB together: %v", e)
	}
	for range 10 {
		if err := s.Set("a", half); err != nil {
			t.Fatalf("the same attribute again: %v", err)
		}
	}
	if e := apierr.From(s.Set(half, half)); e == nil {
		t.Error("the bytes of keys do not count")
	}
	if err := s.Set("a", "short"); err != nil {
		t.Fatal(err)
	}
	if err := s.Set("b", half); err != nil {
		t.Errorf("there is room again: %v", err)
	}
}

// TestAttributesAreText: one attribute that is none would make the whole answer of the gRPC API unreadable.
func TestAttributesAreText(t *testing.T) {
	s := service()
	if err := s.Set("k\xff", "v\xfe"); err != nil {
		t.Fatal(err)
	}
	if got := s.Info().Extended["k\uFFFD"]; got != "v\uFFFD" {
		t.Errorf("%q", s.Info().Extended)
	}
}
