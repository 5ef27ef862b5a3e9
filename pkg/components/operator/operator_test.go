package operator_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/components/operator"
	operatorv1 "github.com/daprd/daprd/pkg/proto/operator/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is an operator like that of Dapr 1.7: it knows components, their stream and Configurations, and nothing else.
type server struct {
	operatorv1.UnimplementedOperatorServer
	components [][]byte
	// refusal is the answer to the stream, nil for none yet.
	refusal error
	// opened has a value for each stream.
	opened chan struct{}
}

func (s *server) ListComponents(context.Context, *operatorv1.ListComponentsRequest) (*operatorv1.ListComponentResponse, error) {
	return &operatorv1.ListComponentResponse{Components: s.components}, nil
}

func (s *server) GetConfiguration(context.Context, *operatorv1.GetConfigurationRequest) (*operatorv1.GetConfigurationResponse, error) {
	return &operatorv1.GetConfigurationResponse{}, nil
}

func (s *server) ComponentUpdate(_ *operatorv1.ComponentUpdateRequest, stream grpc.ServerStreamingServer[operatorv1.ComponentUpdateEvent]) error {
	s.opened <- struct{}{}
	if s.refusal == nil {
		<-stream.Context().Done()
	}
	return s.refusal
}

// ask serves, and gives a client and its log.
func ask(t *testing.T, s *server) (*operator.Client, *logtest.Hook) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	operatorv1.RegisterOperatorServer(g, s)
	var served sync.WaitGroup
	served.Go(func() { _ = g.Serve(listener) })
	log, lines := logtest.NewNullLogger()
	client, err := operator.New(operator.Settings{Address: listener.Addr().String(), Namespace: "shop", Credentials: insecure.NewCredentials(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		g.Stop()
		served.Wait()
	})
	return client, lines
}

// TestFewerKinds: an operator that does not know a kind has no resources of it. One that cannot be read is left out, and
// told of; a Configuration without text is none.
func TestFewerKinds(t *testing.T) {
	client, _ := ask(t, &server{components: [][]byte{
		[]byte(`{"metadata":{"name":"store"},"spec":{"type":"state.in-memory","version":"v1"}}`),
		[]byte(`{"metadata":{"name":"locked"},"spec":{"type":"state.redis","version":"v1","metadata":[{"name":"redisPassword","value":"%","secretKeyRef":{"name":"s"}}]}}`),
	}})
	found, err := client.Resources(t.Context())
	if err != nil || len(found.Components) != 2 || len(found.Subscriptions)+len(found.Resiliencies)+len(found.HTTPEndpoints) != 0 {
		t.Fatalf("%+v %v", found, err)
	}
	if len(found.Warnings) != 1 || !strings.Contains(found.Warnings[0], "the property redisPassword of locked") {
		t.Errorf("the warnings: %q", found.Warnings)
	}
	if _, err := client.Configuration(t.Context(), "appconfig"); err == nil || !strings.Contains(err.Error(), "configuration appconfig not found in namespace shop") {
		t.Errorf("the error: %v", err)
	}
}

// TestRefusedStream: a stream that is refused is tried again, told of once, and does not make the operator one that is lost.
func TestRefusedStream(t *testing.T) {
	s := &server{refusal: status.Error(codes.PermissionDenied, "not you"), opened: make(chan struct{})}
	client, lines := ask(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { client.Watch(ctx) })
	for range 3 {
		<-s.opened
	}
	if client.Lost() {
		t.Error("it counts as lost")
	}
	cancel()
	watching.Wait()
	var told []string
	for _, line := range lines.AllEntries() {
		if line.Level <= logrus.InfoLevel {
			told = append(told, line.Message)
		}
	}
	if len(told) != 1 || !strings.Contains(told[0], "the operator refuses the stream of kind Component: ") || !strings.Contains(told[0], "not you") {
		t.Errorf("the log: %q", told)
	}
}

// TestNext: the opening of a stream counts as a change, since nobody knows what happened before.
func TestNext(t *testing.T) {
	s := &server{opened: make(chan struct{}, 1)}
	client, _ := ask(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { client.Watch(ctx) })
	if !client.Next(ctx, time.Hour) {
		t.Error("nothing may have changed")
	}
	cancel()
	watching.Wait()
	for left := 0; client.Next(ctx, time.Hour); left++ {
		if left == 1 { // one word may be left
			t.Fatal("there is no end of changes")
		}
	}
}

// TestNoAddress: the error says what to do.
func TestNoAddress(t *testing.T) {
	if _, err := operator.New(operator.Settings{Credentials: insecure.NewCredentials()}); err == nil || !strings.Contains(err.Error(), "--control-plane-address") {
		t.Errorf("the error: %v", err)
	}
}
