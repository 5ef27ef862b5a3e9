package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/daprd/daprd/pkg/placement"
	"github.com/daprd/daprd/pkg/placement/election"
	"github.com/daprd/daprd/pkg/process"
)

var about = process.About{Name: "placement", Title: "Placement Service", EndTitle: "Placement service",
	Purpose: "placement says which sidecar hosts which actors, and has all sidecars of a mesh change over at once."}

// flags are what the command line says.
type flags struct {
	*process.CommandLine
	cfg    placement.Config
	peers  []election.Peer
	folder string
}

// parse reads the arguments without the program's name, and the environment through getenv.
func parse(arguments []string, getenv func(string) string) (*flags, *process.UsageError) {
	f := new(flags)
	f.CommandLine = process.NewCommandLine(about, &f.cfg.Observed)
	s, c := f.CommandLine, &f.cfg
	mode, cluster, inMemory := "", "", true
	s.StringVar(&mode, "mode", "standalone", "where it runs: standalone or kubernetes")
	s.StringVar(&c.ID, "id", placement.DefaultID, "the name of this server in --initial-cluster")
	s.StringVar(&cluster, "initial-cluster", placement.DefaultInitialCluster, "the servers that elect their leader: id=host:port,id=host:port")
	s.BoolVar(&inMemory, "inmem-store-enabled", true, "keep the votes in memory")
	s.StringVar(&f.folder, "raft-logstore-path", "", "the folder of the votes, where they are not kept in memory")
	s.StringVar(&c.ListenAddress, "listen-address", "", "the address for sidecars; empty for all interfaces")
	s.PortVar(&c.Port, "port", placement.DefaultPort, "the port for sidecars")
	s.BoolVar(&c.Metadata, "metadata-enabled", getenv("DAPR_PLACEMENT_METADATA_ENABLED") == "true", "serve GET /placement/state on the health port")
	s.IntVar(&c.ReplicationFactor, "replicationFactor", placement.DefaultReplicationFactor, "how many places a host has in the ring of a type")
	s.DurationVar(&c.DisseminateTimeout, "disseminate-timeout", placement.DefaultDisseminateTimeout, "how long sidecars may be silent in a phase of a round")
	s.DurationVar(&c.CoalesceWindow, "disseminate-coalesce-window", 0, "how long a change waits for others, so that they share a round")
	s.DurationVar(&c.KeepaliveTime, "keepalive-time", placement.DefaultKeepaliveTime, "after which silence a sidecar is asked whether it lives")
	s.DurationVar(&c.KeepaliveTimeout, "keepalive-timeout", placement.DefaultKeepaliveTimeout, "how long it may take to answer")
	s.BoolVar(&c.TLS, "tls-enabled", false, "mutual TLS, under the identity that sentry gives")
	s.StringVar(&c.TrustDomain, "trust-domain", placement.DefaultTrustDomain, "the trust domain of the control plane")
	s.StringVar(&c.AnchorsFile, "trust-anchors-file", "", "the file of the roots that are trusted")
	s.StringVar(&c.SentryAddress, "sentry-address", "", "host and port of sentry; empty for its service in the namespace of the control plane")
	s.Needless("min-api-level", "max-api-level")
	if misuse := f.Parse(arguments); misuse != nil {
		return nil, misuse
	}
	f.surroundings(mode, getenv)
	if err := f.check(mode, cluster, inMemory); err != nil {
		return nil, f.Misuse(err)
	}
	return f, nil
}

// surroundings are what the environment says.
func (f *flags) surroundings(mode string, getenv func(string) string) {
	c := &f.cfg
	c.Kubernetes = mode == "kubernetes"
	c.Namespace = getenv("NAMESPACE")
	if c.Namespace == "" {
		c.Namespace = placement.DefaultNamespace
	}
	c.TokenFile = getenv("DAPR_SENTRY_TOKEN_FILE")
	if c.SentryAddress == "" && c.Kubernetes {
		c.SentryAddress = fmt.Sprintf("dapr-sentry.%s.svc:443", c.Namespace)
	}
}

func (f *flags) check(mode, cluster string, inMemory bool) (err error) {
	if mode != "standalone" && mode != "kubernetes" {
		return fmt.Errorf("invalid mode: %s (it takes standalone, kubernetes)", mode)
	}
	if f.peers, err = election.ParsePeers(cluster); err != nil {
		return fmt.Errorf("invalid value for --initial-cluster: %w", err)
	}
	if !slices.ContainsFunc(f.peers, func(p election.Peer) bool { return p.ID == f.cfg.ID }) {
		return fmt.Errorf("invalid value for --id: %s is none of the servers of --initial-cluster", f.cfg.ID)
	}
	if inMemory {
		f.folder = ""
		return nil
	}
	if f.folder == "" {
		return fmt.Errorf("--inmem-store-enabled=false needs --raft-logstore-path: the folder of the votes")
	}
	return os.MkdirAll(f.folder, 0o700)
}
