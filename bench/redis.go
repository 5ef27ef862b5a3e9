package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// startRedis starts a redis-server that keeps nothing on disk, and writes the manifest of a broker on it. Where
// redis-server is not installed the error is exec.ErrNotFound.
func startRedis(ctx context.Context, folder string) (*process, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	command := exec.Command("redis-server", "--port", strconv.Itoa(ports[0]), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	command.Dir = folder
	p, err := start(command)
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
	for {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			manifest := component("redis", "pubsub.redis", fmt.Sprintf("  metadata:\n  - name: redisHost\n    value: %s\n", address))
			return p, os.WriteFile(filepath.Join(folder, "redis.yaml"), []byte(manifest), 0o600)
		}
		select {
		case <-p.done:
			return nil, errors.New("redis-server ended while it started")
		case <-ctx.Done():
			p.stop()
			return nil, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}
