package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

//go:embed components/*.yaml
var manifests embed.FS

// scene is everything that the example starts.
type scene struct {
	daprd    string
	dir      string
	greeter  *party
	frontend *party
	// ordered are the greetings that came as messages.
	ordered chan string
}

// party is an application with its sidecar.
type party struct {
	id      string
	app     *http.Server
	appPort int
	sidecar *sidecar
}

func newScene(daprd string) (*scene, error) {
	if _, err := os.Stat(daprd); err != nil {
		return nil, fmt.Errorf("%w; build it with `make build`", err)
	}
	dir, err := folder()
	if err != nil {
		return nil, err
	}
	s := &scene{daprd: daprd, dir: dir, greeter: &party{id: "greeter"}, frontend: &party{id: "frontend"},
		ordered: make(chan string, 1)}
	return s, s.writeManifests()
}

// writeManifests puts the components where the sidecars look for them; the data lies beside them.
func (s *scene) writeManifests() error {
	secrets := []byte(`{"GREETING_LANGUAGE": "English"}`)
	if err := os.WriteFile(filepath.Join(s.dir, "secrets.json"), secrets, 0o600); err != nil {
		return fmt.Errorf("write the secrets of the example: %w", err)
	}
	return fs.WalkDir(manifests, "components", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := manifests.ReadFile(path)
		if err != nil {
			return err
		}
		text = []byte(strings.ReplaceAll(string(text), "DATA", s.dir))
		return os.WriteFile(filepath.Join(s.dir, path), text, 0o600)
	})
}

func (s *scene) start(ctx context.Context) error {
	fmt.Println("Starting two apps and a sidecar beside each. Their logs and data are in", s.dir)
	if err := s.greeter.start(ctx, s, func(port int) http.Handler { return greeterApp(port, s.ordered) }); err != nil {
		return err
	}
	return s.frontend.start(ctx, s, func(port int) http.Handler { return frontendApp(port) })
}

// start brings up the application, then its sidecar, and waits until the sidecar is ready.
func (p *party) start(ctx context.Context, s *scene, handler func(sidecarPort int) http.Handler) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("open a port for the app %s: %w", p.id, err)
	}
	p.appPort = listener.Addr().(*net.TCPAddr).Port
	p.sidecar, err = newSidecar(s, p)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	p.app = &http.Server{Handler: handler(p.sidecar.httpPort)}
	go func() { _ = p.app.Serve(listener) }()
	return p.sidecar.start(ctx)
}

// ended tells of a sidecar that ended by itself.
func (s *scene) ended() <-chan error {
	ended := make(chan error, 2)
	for _, p := range []*party{s.greeter, s.frontend} {
		go func() {
			<-p.sidecar.done
			ended <- fmt.Errorf("the sidecar of %s ended: %v; its log is %s", p.id, p.sidecar.err, p.sidecar.log)
		}()
	}
	return ended
}

// close ends sidecars first, so that each can still reach its app while it drains. After a failure the
// folder stays, for its logs.
func (s *scene) close(failure error) error {
	errs := []error{failure}
	for _, p := range []*party{s.frontend, s.greeter} {
		if p.sidecar != nil {
			errs = append(errs, p.sidecar.stop())
		}
	}
	for _, p := range []*party{s.frontend, s.greeter} {
		if p.app != nil {
			errs = append(errs, p.app.Close())
		}
	}
	if failure == nil || errors.Is(failure, context.Canceled) {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}
