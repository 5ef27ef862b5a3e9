package runtime

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"golang.org/x/net/http/httpguts"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/messaging"
)

// endpointsOf are the HTTPEndpoint resources that this sidecar may use.
func (r *Runtime) endpointsOf(resources *config.Resources) (mine []config.HTTPEndpoint) {
	for _, e := range resources.HTTPEndpoints {
		if config.Authorised(e.Meta, e.Scopes, r.cfg.AppID, r.cfg.Namespace) {
			mine = append(mine, e)
		}
	}
	return mine
}

// openEndpoints makes the HTTPEndpoint resources callable, in place of those before. Unlike a component, a bad one is
// an error only for itself: it is logged and left out, or stays what it was before. One caller at a time.
func (r *Runtime) openEndpoints(ctx context.Context, found []config.HTTPEndpoint) {
	var (
		endpoints []messaging.Endpoint
		names     []string
	)
	for i := range found {
		e := &found[i]
		endpoint, err := r.endpoint(ctx, e)
		if before := slices.IndexFunc(r.opened, func(o messaging.Endpoint) bool { return o.Name == e.Meta.Name }); err != nil && before >= 0 {
			r.log.Errorf("the change of the HTTPEndpoint %s (%s) is refused, the one before stays: %s", e.Meta.Name, e.Origin, err)
			endpoint = r.opened[before]
		} else if err != nil {
			r.log.Errorf("the HTTPEndpoint %s (%s) is left out: %s", e.Meta.Name, e.Origin, err)
			continue
		}
		endpoints, names = append(endpoints, endpoint), append(names, e.Meta.Name)
	}
	r.opened = endpoints
	r.endpoints.Fill(messaging.NewEndpoints(endpoints))
	r.httpEndpoints.Fill(names)
}

// endpoint bounds the reading of secrets by the time of a component.
func (r *Runtime) endpoint(ctx context.Context, e *config.HTTPEndpoint) (endpoint messaging.Endpoint, err error) {
	ctx, cancel := context.WithTimeout(ctx, config.DefaultInitTimeout)
	defer cancel()
	if e.Meta.Name == "" {
		return endpoint, errors.New("metadata.name is missing: calls name the endpoint by it")
	}
	endpoint = messaging.Endpoint{Name: e.Meta.Name, BaseURL: e.Spec.BaseURL}
	if err := checkBase(e.Spec.BaseURL); err != nil {
		return endpoint, err
	}
	for i, header := range e.Spec.Headers {
		value, err := r.property(ctx, e, header)
		if err == nil {
			err = checkHeader(header.Name, value)
		}
		if err != nil {
			return endpoint, fmt.Errorf("spec.headers[%d] (%q): %w", i, header.Name, err)
		}
		endpoint.Header = append(endpoint.Header, channel.Field{Name: header.Name, Value: value})
	}
	endpoint.TLS, err = r.endpointTLS(ctx, e)
	return endpoint, err
}

// checkBase does not repeat the URL: it may hold a password.
func checkBase(text string) error {
	base, err := url.Parse(text)
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return errors.New("spec.baseUrl: want a URL like https://host:port/path")
	}
	return nil
}

// checkHeader tells at the start what every call would fail with. Values that are read from files often end
// in a line break.
func checkHeader(name, value string) error {
	if !httpguts.ValidHeaderFieldName(name) {
		return errors.New("this is no name of a header")
	}
	if !httpguts.ValidHeaderFieldValue(value) {
		return errors.New("the value holds a line break or another control character, which no header can carry")
	}
	return nil
}

func (r *Runtime) endpointTLS(ctx context.Context, e *config.HTTPEndpoint) (*tls.Config, error) {
	spec := e.Spec.ClientTLS
	if spec == nil {
		return nil, nil
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	var ca, certificate, key string
	for _, part := range []struct {
		name string
		from config.Property
		to   *string
	}{{"rootCA", spec.RootCA, &ca}, {"certificate", spec.Certificate, &certificate}, {"privateKey", spec.PrivateKey, &key}} {
		var err error
		if *part.to, err = r.property(ctx, e, part.from); err != nil {
			return nil, fmt.Errorf("spec.clientTLS.%s: %w", part.name, err)
		}
	}
	if ca != "" {
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return nil, errors.New("spec.clientTLS.rootCA holds no certificate in PEM form")
		}
	}
	if certificate != "" || key != "" {
		pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
		if err != nil {
			return nil, fmt.Errorf("spec.clientTLS: certificate and privateKey are no usable pair of PEM texts: %w", err)
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	var err error
	settings.Renegotiation, err = renegotiation(spec.Renegotiation)
	return settings, err
}

func renegotiation(text string) (tls.RenegotiationSupport, error) {
	switch text {
	case "", "Never":
		return tls.RenegotiateNever, nil
	case "OnceAsClient":
		return tls.RenegotiateOnceAsClient, nil
	case "FreelyAsClient":
		return tls.RenegotiateFreelyAsClient, nil
	}
	return tls.RenegotiateNever, fmt.Errorf("spec.clientTLS.renegotiation %q: want Never, OnceAsClient or FreelyAsClient", text)
}

// property is the value of a property, from wherever it refers to.
func (r *Runtime) property(ctx context.Context, e *config.HTTPEndpoint, p config.Property) (string, error) {
	switch {
	case p.Given:
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
