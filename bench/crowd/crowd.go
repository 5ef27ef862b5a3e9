// Package crowd is very many sidecars towards a placement server, for measurements.
package crowd

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	placementv1 "github.com/daprd/daprd/pkg/proto/placement/v1"
	"github.com/daprd/daprd/pkg/proto/wire"
)

// Crowd is very many sidecars that only acknowledge, for measurements: they read no table, since those of a mesh do that
// on machines of their own.
type Crowd struct {
	streams  []*grpc.ClientConn
	first    grpc.BidiStreamingClient[placementv1.Host, placementv1.PlacementOrder]
	unlocked chan uint64
	failed   chan error
	version  uint64
}

// crowdTypes are what each of a crowd hosts, but for every tenth, which hosts nothing.
var crowdTypes = []string{"T", "U", "V"}

// Gather has n sidecars join, and waits until all are in one table.
func Gather(ctx context.Context, address string, n int) (*Crowd, error) {
	c := &Crowd{unlocked: make(chan uint64, 16*n), failed: make(chan error, n)}
	for i := range n {
		conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(glance{})))
		if err != nil {
			return nil, err
		}
		c.streams = append(c.streams, conn)
		stream, err := placementv1.NewPlacementClient(conn).ReportDaprStatus(ctx)
		if err != nil {
			return nil, err
		}
		if c.first == nil {
			c.first = stream
		}
		host := &placementv1.Host{Id: fmt.Sprintf("app-%d", i), Name: fmt.Sprintf("10.0.%d.%d:50002", i/250, i%250), Namespace: "default",
			Operation: placementv1.HostOperation_REPORT}
		if i%10 != 9 {
			host.Entities = crowdTypes
		}
		if err := stream.Send(host); err != nil {
			return nil, err
		}
		go c.follow(stream, host.GetId())
	}
	if err := c.settle(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Round has one of them report types that it did not have, and waits until all have been through the round of it.
func (c *Crowd) Round(ctx context.Context) error {
	report := &placementv1.Host{Id: "app-0", Name: "10.0.0.0:50002", Namespace: "default", Operation: placementv1.HostOperation_REPORT,
		Entities: append([]string{fmt.Sprint(c.version)}, crowdTypes...)}
	if err := c.first.Send(report); err != nil {
		return err
	}
	return c.settle(ctx)
}

// settle waits until all have been through a version that is newer than the last.
func (c *Crowd) settle(ctx context.Context) error {
	for seen := 0; seen < len(c.streams); {
		select {
		case v := <-c.unlocked:
			if v > c.version {
				c.version, seen = v, 0
			}
			seen++
		case err := <-c.failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Close ends all streams.
func (c *Crowd) Close() {
	for _, conn := range c.streams {
		_ = conn.Close()
	}
}

var answers = map[string]placementv1.HostOperation{"lock": placementv1.HostOperation_LOCK, "update": placementv1.HostOperation_UPDATE,
	"unlock": placementv1.HostOperation_UNLOCK}

// follow acknowledges what a sidecar is told, until its stream ends.
func (c *Crowd) follow(stream grpc.BidiStreamingClient[placementv1.Host, placementv1.PlacementOrder], id string) {
	for {
		order, err := stream.Recv()
		if err != nil {
			c.failed <- err
			return
		}
		operation := answers[order.GetOperation()]
		if stream.Send(&placementv1.Host{Id: id, Namespace: "default", Operation: operation, Version: proto.Uint64(order.GetVersion())}) != nil {
			return
		}
		if operation == placementv1.HostOperation_UNLOCK {
			c.unlocked <- order.GetVersion()
		}
	}
}

// glance reads of an order what an answer needs.
type glance struct{ wire.Codec }

func (g glance) Unmarshal(data mem.BufferSlice, v any) error {
	order, ok := v.(*placementv1.PlacementOrder)
	if !ok {
		return g.Codec.Unmarshal(data, v)
	}
	order.Reset()
	for text := data.Materialize(); len(text) > 0; {
		number, kind, n := protowire.ConsumeTag(text)
		if n < 0 {
			return protowire.ParseError(n)
		}
		text = text[n:]
		switch number {
		case 2:
			value, _ := protowire.ConsumeBytes(text)
			order.Operation = string(value)
		case 3:
			order.Version, _ = protowire.ConsumeVarint(text)
		}
		if n = protowire.ConsumeFieldValue(number, kind, text); n < 0 {
			return protowire.ParseError(n)
		}
		text = text[n:]
	}
	return nil
}
