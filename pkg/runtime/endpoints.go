package runtime

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/messaging"
)

// openEndpoints makes the HTTPEndpoint resources callable. Unlike a component, a bad one is an error only
// for itself: it is logged and left out.
func (r *Runtime) openEndpoints(ctx context.Context, found []config.HTTPEndpoint) error {
	var (
		endpoints []messaging.Endpoint
		names     []string
	)
	for i := range found {
		e := &found[i]
		if !config.Authorised(e.Meta, e.Scopes, r.cfg.AppID, r.cfg.Namespace) {
			continue
		}
		endpoint, err := r.endpoint(ctx, e)
		if err != nil {
			r.log.Errorf("the HTTPEndpoint %s (%s) is left out: %s", e.Meta.Name, e.Origin, err)
			continue
		}
		endpoints, names = append(endpoints, endpoint), append(names, e.Meta.Name)
	}
	r.endpoints.Fill(messaging.NewEndpoints(endpoints))
	r.httpEndpoints.Fill(names)
	return nil
}

func (r *Runtime) endpoint(ctx context.Context, e *config.HTTPEndpoint) (messaging.Endpoint, error) {
	base, err := url.Parse(e.Spec.BaseURL)
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return messaging.Endpoint{}, fmt.Errorf("spec.baseUrl %q: want a URL like https://host:port/path", e.Spec.BaseURL)
	}
	endpoint := messaging.Endpoint{Name: e.Meta.Name, BaseURL: e.Spec.BaseURL}
	for _, header := range e.Spec.Headers {
		value, err := r.property(ctx, e, header)
		if err != nil {
			return endpoint, fmt.Errorf("spec.headers, %s: %w", header.Name, err)
		}
		endpoint.Header = append(endpoint.Header, channel.Field{Name: header.Name, Value: value})
	}
	endpoint.TLS, err = r.endpointTLS(ctx, e)
	return endpoint, err
}

func (r *Runtime) endpointTLS(ctx context.Context, e *config.HTTPEndpoint) (*tls.Config, error) {
	spec := e.Spec.ClientTLS
	if spec == nil {
		return nil, nil
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	texts := map[string]string{}
	for name, p := range map[string]config.Property{"rootCA": spec.RootCA, "certificate": spec.Certificate, "privateKey": spec.PrivateKey} {
		text, err := r.property(ctx, e, p)
		if err != nil {
			return nil, fmt.Errorf("spec.clientTLS.%s: %w", name, err)
		}
		texts[name] = text
	}
	if texts["rootCA"] != "" {
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM([]byte(texts["rootCA"])) {
			return nil, errors.New("spec.clientTLS.rootCA holds no certificate in PEM form")
		}
	}
	if texts["certificate"] != "" {
		pair, err := tls.X509KeyPair([]byte(texts["certificate"]), []byte(texts["privateKey"]))
		if err != nil {
			return nil, fmt.Errorf("spec.clientTLS: certificate and privateKey are no usable pair of PEM texts: %w", err)
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	switch spec.Renegotiation {
	case "", "Never":
	case "OnceAsClient":
		settings.Renegotiation = tls.RenegotiateOnceAsClient
	case "FreelyAsClient":
		settings.Renegotiation = tls.RenegotiateFreelyAsClient
	default:
		return nil, fmt.Errorf("spec.clientTLS.renegotiation %q: want Never, OnceAsClient or FreelyAsClient", spec.Renegotiation)
	}
	return settings, nil
}

// property is the value of a property, from wherever it refers to.
func (r *Runtime) property(ctx context.Context, e *config.HTTPEndpoint, p config.Property) (string, error) {
	switch {
	case p.SecretKeyRef.Name != "":
		store, ok := r.secrets.Store(e.Auth.SecretStore)
		if !ok {
			return "", fmt.Errorf("the secret store %q is not loaded: auth.secretStore names it", e.Auth.SecretStore)
		}
		values, err := store.Secret(ctx, p.SecretKeyRef.Name, map[string]string{"namespace": e.Meta.Namespace})
		if err != nil {
			return "", fmt.Errorf("get the secret %s: %w", p.SecretKeyRef.Name, err)
		}
		key := p.SecretKeyRef.Key
		if key == "" {
			key = p.SecretKeyRef.Name
		}
		value, ok := values[key]
		if !ok {
			return "", fmt.Errorf("the secret %s has no key %s", p.SecretKeyRef.Name, key)
		}
		return config.Unquote(value), nil
	case p.EnvRef != "":
		return config.Environment(p.EnvRef)
	}
	return string(p.Value), nil
}
