package grpc_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/testing/protocmp"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

func TestMetadata(t *testing.T) {
	s := start(t, nil)
	for _, pair := range [][2]string{{"cli", "run"}, {"", "ignored"}} {
		if _, err := s.SetMetadata(t.Context(), &runtimev1.SetMetadataRequest{Key: pair[0], Value: pair[1]}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.GetMetadata(t.Context(), &runtimev1.GetMetadataRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := &runtimev1.GetMetadataResponse{
		Id: "myapp", RuntimeVersion: "1.18.3", EnabledFeatures: []string{"F"},
		RegisteredComponents: []*runtimev1.RegisteredComponents{
			{Name: "st", Type: "state.in-memory", Version: "v1", Capabilities: []string{"ETAG"}}},
		ExtendedMetadata: map[string]string{"cli": "run", "daprRuntimeVersion": "1.18.3"},
		HttpEndpoints:    []*runtimev1.MetadataHTTPEndpoint{{Name: "github"}},
		Resiliencies:     []*runtimev1.MetadataResiliency{{Name: "policies"}},
		AppConnectionProperties: &runtimev1.AppConnectionProperties{Port: 6000, Protocol: "http",
			ChannelAddress: "127.0.0.1", MaxConcurrency: 7},
		ActorRuntime: &runtimev1.ActorRuntime{RuntimeStatus: runtimev1.ActorRuntime_DISABLED},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
}

func TestTooMuchMetadata(t *testing.T) {
	s := start(t, nil)
	for i := range 1000 {
		if _, err := s.SetMetadata(t.Context(), &runtimev1.SetMetadataRequest{Key: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.SetMetadata(t.Context(), &runtimev1.SetMetadataRequest{Key: "one more"})
	failedWith(t, err, codes.InvalidArgument, "there are 1000 metadata attributes already, and no more are kept; use fewer keys")
}

func TestShutdown(t *testing.T) {
	s := start(t, nil)
	for name, test := range map[string]struct {
		values []string
		forced bool
	}{
		"plain":      {nil, false},
		"forced":     {[]string{"TRUE"}, true},
		"one of two": {[]string{"no", "true"}, true},
		"other":      {[]string{"1"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			for _, value := range test.values {
				ctx = metadata.AppendToOutgoingContext(ctx, "dapr-force-shutdown", value)
			}
			if _, err := s.Shutdown(ctx, &runtimev1.ShutdownRequest{}); err != nil {
				t.Fatal(err)
			}
			if forced := <-s.shutdown; forced != test.forced {
				t.Errorf("forced: %t", forced)
			}
		})
	}
}
