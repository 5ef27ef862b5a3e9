package main

import (
	"github.com/daprd/daprd/pkg/process"
	"github.com/daprd/daprd/pkg/sentry"
)

var about = process.About{Name: "sentry", Title: "Sentry certificate authority", EndTitle: "Sentry",
	Purpose: "sentry is the certificate authority of a mesh: it signs the certificates by which sidecars know each other."}

// flags are what the command line says.
type flags struct {
	*process.CommandLine
	cfg  sentry.Config
	mode string
}

// parse reads the arguments without the program's name, and the environment through getenv.
func parse(arguments []string, getenv func(string) string) (*flags, *process.UsageError) {
	f := newFlags(getenv)
	if misuse := f.Parse(arguments); misuse != nil {
		return nil, misuse
	}
	f.cfg.Mode = mode(f.mode, getenv)
	f.cfg.Namespace = getenv("NAMESPACE")
	if f.cfg.Namespace == "" && f.cfg.Mode == sentry.Standalone {
		f.cfg.Namespace = sentry.DefaultNamespace
	}
	if f.cfg.Mode == sentry.Standalone && !f.Changed("config") {
		f.cfg.Configuration = "" // the default is the name of a resource in Kubernetes, no file
	}
	return f, nil
}

// mode is what was asked for; as in Dapr, another word than the two leaves it to the environment.
func mode(text string, getenv func(string) string) sentry.Mode {
	switch m := sentry.Mode(text); {
	case m == sentry.Standalone, m == sentry.Kubernetes:
		return m
	case getenv("KUBERNETES_SERVICE_HOST") != "":
		return sentry.Kubernetes
	}
	return sentry.Standalone
}

func newFlags(getenv func(string) string) *flags {
	f := new(flags)
	f.CommandLine = process.NewCommandLine(about, &f.cfg.Observed)
	s, c := f.CommandLine, &f.cfg
	s.StringVar(&f.mode, "mode", string(sentry.Standalone), "where it runs: standalone or kubernetes")
	s.StringVar(&c.TrustDomain, "trust-domain", sentry.DefaultTrustDomain, "the trust domain of the control plane")
	s.StringVar(&c.Configuration, "config", sentry.DefaultConfiguration, "the file of the Configuration, in Kubernetes its name; a file is read only if this is given")
	s.StringVar(&c.Credentials, "issuer-credentials", sentry.DefaultCredentials, "the folder of the trust bundle; an empty one gets a new authority")
	s.StringVar(&c.AnchorsFile, "issuer-ca-filename", sentry.DefaultAnchorsFile, "the file of the trust anchors in it")
	s.StringVar(&c.CertificateFile, "issuer-certificate-filename", sentry.DefaultCertificateFile, "the file of the issuer's certificate in it")
	s.StringVar(&c.KeyFile, "issuer-key-filename", sentry.DefaultKeyFile, "the file of the issuer's key in it")
	s.KubeconfigVar(&c.Kubeconfig, getenv)
	s.StringVar(&c.ListenAddress, "listen-address", "", "the address on which certificates are signed; empty for all interfaces")
	s.PortVar(&c.Port, "port", sentry.DefaultPort, "the port on which certificates are signed")
	f.tokens()
	return f
}

// tokens are the flags of JWT-SVIDs, and of how others learn of their keys.
func (f *flags) tokens() {
	s, j, o := f, &f.cfg.JWT, &f.cfg.OIDC
	s.BoolVar(&j.Enabled, "jwt-enabled", false, "give JWTs beside certificates")
	s.StringVar(&j.KeyFile, "jwt-key-filename", sentry.DefaultTokenKeyFile, "the file of the key of JWTs in the folder of the trust bundle")
	s.StringVar(&j.SetFile, "jwks-filename", sentry.DefaultTokenSetFile, "the file of the JSON Web Key Set in it")
	s.StringVar(&j.Issuer, "jwt-issuer", "", "the issuer that JWTs name; empty for none")
	s.StringVar(&j.Algorithm, "jwt-signing-algorithm", sentry.DefaultTokenAlgorithm, "how JWTs are signed: RS, PS or ES with 256, 384 or 512, or EdDSA")
	s.StringVar(&j.KeyID, "jwt-key-id", "", "the name of the key; empty for its thumbprint. A key with a name is never replaced")
	s.DurationVar(&j.TTL, "jwt-ttl", sentry.DefaultTokenTTL, "how long a JWT is valid")
	s.BoolVar(&o.Enabled, "oidc-enabled", false, "tell of the keys of JWTs as OpenID Connect does")
	s.StringVar(&o.ListenAddress, "oidc-server-listen-address", "", "the address of that; empty for all interfaces")
	s.PortVar(&o.Port, "oidc-server-listen-port", sentry.DefaultOIDCPort, "the port of that")
	s.BoolVar(&o.TLS, "oidc-server-tls-enabled", true, "serve it over TLS")
	s.StringVar(&o.CertificateFile, "oidc-server-tls-cert-file", "", "the file of its certificate; empty for sentry's own")
	s.StringVar(&o.KeyFile, "oidc-server-tls-key-file", "", "the file of the key of that")
	s.StringVar(&o.SetURL, "oidc-jwks-uri", "", "where the key set is; empty for this server")
	s.StringVar(&o.PathPrefix, "oidc-path-prefix", "", "what stands before the paths")
	s.StringSliceVar(&o.AllowedHosts, "oidc-allowed-hosts", nil, "the names under which it may be asked; empty for all")
}
