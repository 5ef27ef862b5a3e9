package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/go-redis/redis/v8"
)

// newCluster makes a client of a cluster whose nodes may be of any version.
func newCluster(options *redis.ClusterOptions) *redis.ClusterClient {
	options.NewClient = func(o *redis.Options) *redis.Client {
		node := redis.NewClient(o)
		node.AddHook(layout{node: node, address: o.Addr})
		return node
	}
	return redis.NewClusterClient(options)
}

// layout answers the two questions about a cluster whose answers got longer in Redis 7, which the library
// cannot read: where the slots are (CLUSTER SLOTS), and where the key stands in a command (COMMAND).
type layout struct {
	node    *redis.Client
	address string
}

// errAnswered keeps the library from asking by itself.
var errAnswered = errors.New("answered")

// BeforeProcess keeps back the two questions.
func (layout) BeforeProcess(ctx context.Context, command redis.Cmder) (context.Context, error) {
	switch command.(type) {
	case *redis.ClusterSlotsCmd, *redis.CommandsInfoCmd:
		return ctx, errAnswered
	}
	return ctx, nil
}

// AfterProcess answers them.
func (l layout) AfterProcess(ctx context.Context, command redis.Cmder) error {
	switch command := command.(type) {
	case *redis.CommandsInfoCmd:
		command.SetVal(commands())
		command.SetErr(nil)
	case *redis.ClusterSlotsCmd:
		answer, err := l.node.Do(ctx, "CLUSTER", "SLOTS").Slice()
		if err != nil {
			return err
		}
		slots, err := readSlots(answer, l.address)
		if err != nil {
			return err
		}
		command.SetVal(slots)
		command.SetErr(nil)
	}
	return nil
}

// BeforeProcessPipeline has nothing to do: neither question is asked in a pipeline.
func (layout) BeforeProcessPipeline(ctx context.Context, _ []redis.Cmder) (context.Context, error) {
	return ctx, nil
}

// AfterProcessPipeline has nothing to do.
func (layout) AfterProcessPipeline(context.Context, []redis.Cmder) error { return nil }

// commands are those that this package sends. The library knows by itself where EVAL and XREADGROUP have their keys.
func commands() map[string]*redis.CommandInfo {
	all := make(map[string]*redis.CommandInfo)
	for _, name := range []string{"get", "hmget", "json.get", "set", "del", "incr", "xadd", "xack", "xclaim", "xpending"} {
		all[name] = &redis.CommandInfo{Name: name, FirstKeyPos: 1}
	}
	all["xgroup"] = &redis.CommandInfo{Name: "xgroup", FirstKeyPos: 2}
	for _, name := range []string{"ping", "info", "command", "eval", "evalsha", "ft.create", "ft.dropindex", "ft.search"} {
		all[name] = &redis.CommandInfo{Name: name}
	}
	return all
}

// readSlots reads ranges of [first, last, node…], nodes of [host, port, …]. A node without a host is the one
// that was asked.
func readSlots(answer []any, asked string) ([]redis.ClusterSlot, error) {
	ranges := make([]redis.ClusterSlot, 0, len(answer))
	for _, entry := range answer {
		fields, _ := entry.([]any)
		if len(fields) < 3 {
			return nil, fmt.Errorf("redis cluster: CLUSTER SLOTS has an entry of %d fields, want 3 or more", len(fields))
		}
		first, isFirst := fields[0].(int64)
		last, isLast := fields[1].(int64)
		if !isFirst || !isLast {
			return nil, errors.New("redis cluster: CLUSTER SLOTS has an entry without numbers")
		}
		one := redis.ClusterSlot{Start: int(first), End: int(last)}
		for _, node := range fields[2:] {
			address, err := readNode(node, asked)
			if err != nil {
				return nil, err
			}
			one.Nodes = append(one.Nodes, redis.ClusterNode{Addr: address})
		}
		ranges = append(ranges, one)
	}
	return ranges, nil
}

func readNode(node any, asked string) (string, error) {
	fields, _ := node.([]any)
	if len(fields) < 2 {
		return "", fmt.Errorf("redis cluster: CLUSTER SLOTS has a node of %d fields, want 2 or more", len(fields))
	}
	host, _ := fields[0].(string)
	if host == "" || host == "?" {
		host, _, _ = net.SplitHostPort(asked)
	}
	port, ok := fields[1].(int64)
	if !ok {
		return "", errors.New("redis cluster: CLUSTER SLOTS has a node without a port")
	}
	return net.JoinHostPort(host, strconv.FormatInt(port, 10)), nil
}
