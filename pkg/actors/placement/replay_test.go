package placement_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	client "github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/actors/placement/placementtest"
	placementv1 "github.com/daprd/daprd/pkg/proto/placement/v1"
)

// script is a placement that says what was recorded on one stream, and compares what it hears.
type script struct {
	placementv1.UnimplementedPlacementServer
	t      *testing.T
	events []event
	// over is closed when all of it has happened.
	over chan struct{}
}

type event struct {
	Stream     int
	Event, Dir string
	B64        []byte
}

func (s *script) ReportDaprStatus(stream grpc.BidiStreamingServer[placementv1.Host, placementv1.PlacementOrder]) error {
	for i, e := range s.events {
		switch {
		case e.Event != "message":
		case e.Dir == "s2c":
			order := new(placementv1.PlacementOrder)
			if err := proto.Unmarshal(e.B64, order); err != nil {
				return err
			}
			if err := stream.Send(order); err != nil {
				return err
			}
		default:
			said, err := stream.Recv()
			if err != nil {
				return err
			}
			text, err := proto.MarshalOptions{Deterministic: true}.Marshal(said)
			if err != nil || !bytes.Equal(text, e.B64) {
				s.t.Errorf("event %d: it says %v (%x), want %x (%v)", i, said, text, e.B64, err)
			}
		}
	}
	close(s.over)
	<-stream.Context().Done()
	return nil
}

// TestCapture: a client says, byte for byte, what the sidecars of Dapr 1.18.3 said to their placement.
func TestCapture(t *testing.T) {
	text, err := os.ReadFile("../../placement/testdata/rounds-1.18.3.json")
	if err != nil {
		t.Fatal(err)
	}
	var recorded struct{ Steps []struct{ Events []event } }
	if err := json.Unmarshal(text, &recorded); err != nil {
		t.Fatal(err)
	}
	byStream := map[int][]event{}
	for _, step := range recorded.Steps {
		for _, e := range step.Events {
			byStream[e.Stream] = append(byStream[e.Stream], e)
		}
	}
	for stream, who := range map[int]struct {
		id, address string
		types       []string
		local       int
	}{
		1: {"app1", "127.0.0.1:50002", []string{"U", "T"}, 200}, // alone at the end
		2: {"app2", "127.0.0.1:50012", []string{"T", "V"}, 86},
		3: {"app3", "127.0.0.1:50022", nil, 0},
	} {
		t.Run(who.id, func(t *testing.T) {
			s := &script{t: t, events: byStream[stream], over: make(chan struct{})}
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := grpc.NewServer()
			placementv1.RegisterPlacementServer(server, s)
			done := make(chan struct{})
			go func() { defer close(done); _ = server.Serve(listener) }()
			defer func() { server.Stop(); <-done }()
			announced := func(d *client.Deps) { d.AppID, d.Lazy = who.id, true }
			c := placementtest.Start(t, placementtest.NewLedger(), who.address, listener.Addr().String(), announced)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				if c.Announce(ctx, who.types) == nil && who.types == nil {
					_, _ = c.Call(ctx, "T", "id0")
				}
			}()
			<-s.over
			local := 0
			for id, host := range served(t) {
				owner, err := c.Call(t.Context(), "T", id)
				if err != nil || len(who.types) == 0 && owner.Address != host {
					t.Errorf("%s: %+v %v", id, owner, err)
				}
				if owner.Local {
					local++
				}
			}
			if local != who.local {
				t.Errorf("%d actors are its own, want %d", local, who.local)
			}
			c.Stop()
		})
	}
}

func served(t *testing.T) (hosts map[string]string) {
	t.Helper()
	text, err := os.ReadFile("testdata/host_of-1.18.3.json")
	if err == nil {
		err = json.Unmarshal(text, &hosts)
	}
	if err != nil {
		t.Fatal(err)
	}
	return hosts
}
