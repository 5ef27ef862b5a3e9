package grpc

import (
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var errReflectionOver = status.Error(codes.Unavailable, "the sidecar is shutting down")

// reflections is a server as the reflection service registers with it. Clients keep the service's streams open
// for as long as they please, between questions too, so those that wait for a question are ended when the
// server drains.
type reflections struct {
	*grpc.Server
	once    sync.Once
	over    chan struct{}
	reading sync.WaitGroup
}

func newReflections(server *grpc.Server) *reflections {
	return &reflections{Server: server, over: make(chan struct{})}
}

// RegisterService is part of reflection.GRPCServer.
func (r *reflections) RegisterService(desc *grpc.ServiceDesc, server any) {
	own := *desc
	own.Streams = slices.Clone(desc.Streams)
	for i := range own.Streams {
		next := own.Streams[i].Handler
		own.Streams[i].Handler = func(server any, stream grpc.ServerStream) error {
			return next(server, &reflection{ServerStream: stream, all: r})
		}
	}
	r.Server.RegisterService(&own, server)
}

// end ends the streams, each when it has answered what it was asked.
func (r *reflections) end() { r.once.Do(func() { close(r.over) }) }

// wait waits until nobody reads from a stream any more. The server is stopped before.
func (r *reflections) wait() { r.reading.Wait() }

// reflection is one stream.
type reflection struct {
	grpc.ServerStream
	all *reflections
}

// RecvMsg waits for a question, or for the end. The message is not used again after an error: what is still
// received into it is lost.
func (r *reflection) RecvMsg(message any) error {
	received := make(chan error, 1)
	r.all.reading.Go(func() { received <- r.ServerStream.RecvMsg(message) })
	select {
	case err := <-received:
		return err
	case <-r.all.over:
		return errReflectionOver
	}
}
