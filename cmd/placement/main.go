// Command placement says which sidecar hosts which actors. It reads the command line, runs until a signal ends it, and
// decides the exit code: 0 at a signal, 1 when it could not start or go on, 2 for a command line that cannot be read.
//
// Of several servers (--initial-cluster) one leads. A server that loses the lead closes the streams of its sidecars and
// stays in the election: unlike Dapr's it does not end, so that its vote is not missing while the others elect.
package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"

	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/placement"
	"github.com/daprd/daprd/pkg/placement/election"
	"github.com/daprd/daprd/pkg/security"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(arguments []string, stdout, stderr io.Writer) int {
	f, misuse := parse(arguments, os.Getenv)
	if misuse != nil {
		return misuse.Print(stdout, stderr)
	}
	return f.Run(stdout, stderr, func(logs *logging.Logs) (func(context.Context) error, error) {
		deps := placement.ProcessDeps{Logs: logs}
		if len(f.peers) > 1 {
			deps.Elect = f.elect(logs)
		}
		service, err := placement.NewProcess(f.cfg, deps)
		if err != nil {
			return nil, err
		}
		return service.Run, nil
	})
}

// elect takes part in the election of the leader.
func (f *flags) elect(logs *logging.Logs) func(context.Context, *security.Identity) (placement.Elector, error) {
	return func(ctx context.Context, identity *security.Identity) (placement.Elector, error) {
		cfg := election.Config{ID: f.cfg.ID, Peers: f.peers, Folder: f.folder, Log: logs.Scope("dapr.placement.raft")}
		if identity != nil {
			peer := security.Peer{TrustDomain: f.cfg.TrustDomain, Namespace: f.cfg.Namespace, AppID: placement.AppID}
			cfg.Secure = secure{identity.ServerConfigFor(peer), identity.ClientConfig(peer)}
		}
		return election.Start(ctx, cfg)
	}
}

// secure is mutual TLS between placement servers: both sides have to be one.
type secure struct{ server, client *tls.Config }

func (s secure) Server(conn net.Conn) net.Conn { return tls.Server(conn, s.server) }
func (s secure) Client(conn net.Conn) net.Conn { return tls.Client(conn, s.client) }
