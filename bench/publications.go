package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// publication is a row of messages that an application publishes and is brought, over one sidecar of its own.
type publication struct {
	name             string
	protocol, broker string
	// messages is how many one call publishes.
	messages int
	budget   string
}

// The broker "memory" makes as many calls of the application at once as there are connections, Redis ten; "ordered" makes
// one after the other, which is the default in memory and keeps the order of the messages.
var publications = []publication{
	{"publish, deliver: HTTP, in memory", "http", "memory", 1, "2.5"},
	{"publish, deliver: HTTP, in memory, in order", "http", "ordered", 1, "2.5"},
	{"publish, deliver: HTTP, Redis", "http", "redis", 1, ""},
	{"publish, deliver: gRPC, in memory", "grpc", "memory", 1, ""},
	{"publish, deliver: gRPC, in memory, in order", "grpc", "ordered", 1, ""},
	{"publish, deliver: gRPC, Redis", "grpc", "redis", 1, ""},
	{"bulk publish (100), deliver: HTTP, in memory", "http", "memory", 100, ""},
	{"bulk publish (100), deliver: gRPC, in memory", "grpc", "memory", 100, ""},
}

// published measures a publication. Brokers outside this process are started for it; where one is not installed the
// row says so.
func (s *suite) published(ctx context.Context, p publication) error {
	if !s.wanted(p.name) {
		return nil
	}
	folder, err := os.MkdirTemp(s.dir, "broker-")
	if err != nil {
		return err
	}
	if p.broker == "redis" {
		redis, err := startRedis(ctx, folder)
		if errors.Is(err, exec.ErrNotFound) {
			fmt.Printf("%-44s left out: redis-server is not installed; `make services` installs it\n", p.name)
			return nil
		}
		if err != nil {
			return err
		}
		defer redis.stop()
	}
	app, err := startApp("publisher", "-duration", s.duration.String(), "-connections", strconv.Itoa(s.connections), p.protocol, p.broker, strconv.Itoa(p.messages))
	if err != nil {
		return err
	}
	defer app.stop()
	beside, err := startSidecar(ctx, s.daprd, s.dir, "publisher", app.port, "--app-protocol", p.protocol, "--resources-path", folder)
	if err != nil {
		return err
	}
	defer beside.stop()
	port := beside.http
	if p.protocol == "grpc" {
		port = beside.grpc
	}
	run := func() (result, time.Duration, error) {
		r, err := app.publish(port)
		r.Requests *= p.messages
		return r, 0, err
	}
	return s.row(ctx, scenario{p.name, run, []*sidecar{beside}, p.budget})
}
