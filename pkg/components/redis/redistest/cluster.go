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
		_, buses[i], _ = net.SplitHostPort(FreeAddress(t))
		nodes[i] = Start(t, "--cluster-enabled", "yes", "--cluster-port", buses[i])
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
		Eventually(t, node.Address+" knows the cluster", func() error {
			text := command(ctx, t, node, "CLUSTER", "INFO")
			if !strings.Contains(text, "cluster_state:ok") || !strings.Contains(text, "cluster_known_nodes:3") {
				return errors.New(text)
			}
			return nil
		})
	}
	return nodes
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
