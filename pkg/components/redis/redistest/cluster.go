package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-redis/redis/v8"
)

// slots is the number of hash slots of a cluster.
const slots = 16384

// StartCluster runs a cluster of three masters, which share the slots, and waits until all know it.
func StartCluster(t testing.TB) []*Server {
	t.Helper()
	nodes, buses := make([]*Server, 3), make([]string, 3)
	for i := range nodes {
		nodes[i], buses[i] = startNode(t)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for i, node := range nodes {
		command(ctx, t, node, "CLUSTER", "ADDSLOTSRANGE", i*slots/3, (i+1)*slots/3-1)
		if i > 0 {
			command(ctx, t, nodes[0], "CLUSTER", "MEET", "127.0.0.1", node.Port(), buses[i])
		}
	}
	for _, node := range nodes {
		whole(ctx, t, node, len(nodes))
	}
	return nodes
}

// whole waits until a node takes the cluster for complete, and knows so many nodes.
func whole(ctx context.Context, t testing.TB, node *Server, known int) {
	t.Helper()
	Eventually(t, node.Address+" knows the cluster", func() error {
		text := command(ctx, t, node, "CLUSTER", "INFO")
		if !strings.Contains(text, "cluster_state:ok") || !strings.Contains(text, fmt.Sprintf("cluster_known_nodes:%d\r", known)) {
			return errors.New(text)
		}
		return nil
	})
}

// startNode runs a node that is in no cluster yet, and gives the port on which nodes speak to each other.
func startNode(t testing.TB) (node *Server, bus string) {
	t.Helper()
	_, bus, _ = net.SplitHostPort(FreeAddress(t))
	return Start(t, "--cluster-enabled", "yes", "--cluster-port", bus), bus
}

// Join starts another master of a cluster, which takes over a slot that has no keys, and waits until all know it.
func Join(t testing.TB, cluster []*Server, slot int) *Server {
	t.Helper()
	node, bus := startNode(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	command(ctx, t, cluster[0], "CLUSTER", "MEET", "127.0.0.1", node.Port(), bus)
	id := command(ctx, t, node, "CLUSTER", "MYID")
	all := append([]*Server{node}, cluster...)
	for _, one := range all {
		Eventually(t, one.Address+" knows the new node", func() error {
			if text := command(ctx, t, one, "CLUSTER", "NODES"); strings.Count(text, "connected") != len(all) || !strings.Contains(text, id) || strings.Contains(text, "handshake") {
				return errors.New(text)
			}
			return nil
		})
	}
	for _, one := range all {
		command(ctx, t, one, "CLUSTER", "SETSLOT", slot, "NODE", id)
	}
	for _, one := range all {
		whole(ctx, t, one, len(all))
	}
	return node
}

// command sends one command and gives the answer as text.
func command(ctx context.Context, t testing.TB, to *Server, arguments ...any) string {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: to.Address})
	defer client.Close()
	answer, err := client.Do(ctx, arguments...).Result()
	if err != nil {
		t.Fatalf("%v: %v", arguments, err)
	}
	return fmt.Sprint(answer)
}

// Eventually polls, since servers give no signal that others have noticed something.
func Eventually(t testing.TB, what string, attempt func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := attempt()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within 30s: %v", what, err)
		case <-ticker.C:
		}
	}
}
