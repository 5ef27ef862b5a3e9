package process_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"google.golang.org/grpc"

	"github.com/daprd/daprd/pkg/process"
)

// TestPart: the life of one that answers gRPC, from its start to its end.
func TestPart(t *testing.T) {
	log, told := logtest.NewNullLogger()
	part := process.NewPart(prometheus.NewRegistry(), log)
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() {
		over <- part.Live(ctx, &process.Observed{HealthListenAddress: "127.0.0.1"}, func(ctx context.Context, start process.Start) error {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err == nil {
				part.GRPC(ctx, start, log, listener, grpc.NewServer(), 0)
			}
			return err
		})
	}()
	<-part.Ready()
	expect(t, "http://"+part.HealthAddress().String()+"/healthz", http.StatusOK, "")
	if part.MetricsAddress() != nil {
		t.Errorf("metrics at %s that nobody asked for", part.MetricsAddress())
	}
	conn, err := net.Dial("tcp", part.Address().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	stop()
	if err := <-over; err != nil {
		t.Error(err)
	}
	if last := told.LastEntry().Message; last != "Shutting down gRPC server" {
		t.Error(last)
	}
}

// TestInsist: what fails is tried again, each failure is told once, and the end of the context ends it.
func TestInsist(t *testing.T) {
	log, told := logtest.NewNullLogger()
	failures := []error{errors.New("a"), errors.New("a"), errors.New("b")}
	if !process.Insist(t.Context(), log, "Nothing is there", func() (err error) {
		if len(failures) > 0 {
			err, failures = failures[0], failures[1:]
		}
		return err
	}) {
		t.Error("it never worked")
	}
	var lines []string
	for _, e := range told.AllEntries() {
		lines = append(lines, e.Message)
	}
	const again = "Nothing is there; it is tried again until it works: "
	if len(lines) != 2 || lines[0] != again+"a" || lines[1] != again+"b" {
		t.Errorf("told %q", lines)
	}
	ctx, stop := context.WithCancel(t.Context())
	if process.Insist(ctx, log, "", func() error { stop(); return errors.New("c") }) {
		t.Error("it works although it failed")
	}
}
