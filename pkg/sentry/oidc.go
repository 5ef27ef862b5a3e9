package sentry

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/daprd/daprd/pkg/process"
)

// The paths of what others learn the keys of tokens by: OpenID Connect Discovery, and Dapr's for the set.
const (
	discoveryPath = "/.well-known/openid-configuration"
	keySetPath    = "/jwks.json"
)

// oidc tells of the keys of tokens. It has no secrets: everybody may ask.
type oidc struct {
	cfg       OIDC
	issuer    string
	algorithm string
	authority *authority
}

// discovery is the part of OpenID Connect's discovery document that checking a token takes.
type discovery struct {
	Issuer     string   `json:"issuer"`
	KeySet     string   `json:"jwks_uri"`
	Responses  []string `json:"response_types_supported"`
	Subjects   []string `json:"subject_types_supported"`
	Algorithms []string `json:"id_token_signing_alg_values_supported"`
}

// handler answers for the two paths.
func (o *oidc) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+o.path(discoveryPath), func(w http.ResponseWriter, r *http.Request) {
		answer(w, discovery{Issuer: o.issuer, KeySet: o.keySetURL(r), Responses: []string{"id_token"}, Subjects: []string{"public"},
			Algorithms: []string{o.algorithm}})
	})
	mux.HandleFunc("GET "+o.path(keySetPath), func(w http.ResponseWriter, _ *http.Request) { answer(w, o.authority.held.Load().tokens.set) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !o.allows(r.Host) {
			http.Error(w, "this host name is not among --oidc-allowed-hosts", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (o *oidc) path(of string) string {
	prefix := strings.Trim(o.cfg.PathPrefix, "/")
	if prefix == "" {
		return of
	}
	return "/" + prefix + of
}

// allows says whether a request may call this server by a name, with or without its port.
func (o *oidc) allows(host string) bool {
	if len(o.cfg.AllowedHosts) == 0 {
		return true
	}
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	return slices.ContainsFunc(o.cfg.AllowedHosts, func(allowed string) bool {
		return strings.EqualFold(allowed, host) || strings.EqualFold(allowed, name)
	})
}

// keySetURL is where the set is, as the one who asks sees this server.
func (o *oidc) keySetURL(r *http.Request) string {
	if o.cfg.SetURL != "" {
		return o.cfg.SetURL
	}
	at := url.URL{Scheme: "http", Host: r.Host, Path: o.path(keySetPath)}
	if o.cfg.TLS {
		at.Scheme = "https"
	}
	return at.String()
}

func answer(w http.ResponseWriter, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "the answer cannot be written as JSON", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text)
}

// tls is nil for clear text. Files are read for each handshake, so that a new certificate needs no restart.
func (o *oidc) tls(shown *own) (*tls.Config, error) {
	if !o.cfg.TLS {
		return nil, nil
	}
	if o.cfg.CertificateFile == "" {
		return shown.tls(), nil
	}
	read := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(o.cfg.CertificateFile, o.cfg.KeyFile)
		return &pair, err
	}
	if _, err := read(nil); err != nil {
		return nil, fmt.Errorf("--oidc-server-tls-cert-file and --oidc-server-tls-key-file: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: read}, nil
}

// serveOIDC tells of the keys until ctx ends, if that was asked for.
func (s *Sentry) serveOIDC(ctx context.Context, start process.Start, ca *authority, shown *own) error {
	if !s.cfg.OIDC.Enabled {
		return nil
	}
	o := &oidc{cfg: s.cfg.OIDC, issuer: s.cfg.JWT.Issuer, algorithm: ca.tokens.algorithm.String(), authority: ca}
	log := s.logs.Scope("dapr.sentry.oidc")
	if o.issuer == "" {
		log.Warn("--jwt-issuer is not set: those who check tokens by OpenID Connect refuse a discovery document without it")
	}
	secure, err := o.tls(shown)
	if err != nil {
		return err
	}
	at := process.Endpoint{Address: o.cfg.ListenAddress, Port: o.cfg.Port, TLS: secure, Grace: grace}
	if s.oidc, err = process.HTTP(ctx, start, log, at, o.handler()); err != nil {
		return fmt.Errorf("OIDC server: %w", err)
	}
	log.Infof("OIDC server is listening on %s", s.oidc)
	return nil
}
