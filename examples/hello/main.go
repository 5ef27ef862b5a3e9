// Command hello shows daprd at work: two small applications, each with a sidecar of its own, one binary
// and nothing else. It starts them, makes a few calls, tells in plain words what happened and leaves
// everything running, with the curl lines to go on with. Ctrl-C ends it all.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	daprd := flag.String("daprd", "bin/daprd", "the daprd binary")
	once := flag.Bool("once", false, "end after the tour instead of waiting for Ctrl-C")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *daprd, *once); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, daprd string, once bool) (err error) {
	scene, err := newScene(daprd)
	if err != nil {
		return err
	}
	defer func() { err = scene.close(err) }()
	if err := scene.start(ctx); err != nil {
		return err
	}
	if err := tour(ctx, scene); err != nil {
		return err
	}
	if once {
		return nil
	}
	fmt.Print(scene.invitation())
	select {
	case <-ctx.Done():
		fmt.Println("\nStopping both sidecars and both apps.")
	case err = <-scene.ended():
	}
	return err
}

// folder makes the place of the scene's manifests, data and logs.
func folder() (string, error) {
	dir, err := os.MkdirTemp("", "daprd-hello-")
	if err != nil {
		return "", fmt.Errorf("make a folder for the example: %w", err)
	}
	return dir, os.Mkdir(filepath.Join(dir, "components"), 0o700)
}
