package runtime

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/secrets"
)

// vault is a secret store of the values of its map, by "<namespace>/<name>".
type vault map[string]map[string]string

func (v vault) Secret(_ context.Context, name string, metadata map[string]string) (map[string]string, error) {
	values, ok := v[metadata["namespace"]+"/"+name]
	if !ok {
		return nil, errors.New("there is no such secret")
	}
	return values, nil
}

func (v vault) All(context.Context, map[string]string) (map[string]map[string]string, error) {
	return v, nil
}

// withSecrets is a Runtime of no more than endpoints need, for the app "app" in the namespace "ns".
func withSecrets(t *testing.T, stored vault) (*Runtime, *logtest.Hook) {
	t.Helper()
	logger, hook := logtest.NewNullLogger()
	r := &Runtime{cfg: Config{AppID: "app", Namespace: "ns"}, log: logrus.NewEntry(logger), secrets: secrets.NewService(secrets.Deps{})}
	if err := r.secrets.Add("vault", stored); err != nil {
		t.Fatal(err)
	}
	return r, hook
}

// pair is a certificate for itself and its key, as PEM texts.
func pair(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER}))
}

func ref(name, key string) config.Property {
	return config.Property{SecretKeyRef: config.SecretKeyRef{Name: name, Key: key}}
}

func named(name string, p config.Property) config.Property {
	p.Name = name
	return p
}

func httpEndpoint(headers ...config.Property) *config.HTTPEndpoint {
	return &config.HTTPEndpoint{Meta: config.Meta{Name: "outside", Namespace: "ns"}, Auth: config.Auth{SecretStore: "vault"},
		Spec: config.HTTPEndpointSpec{BaseURL: "https://host:1/path", Headers: headers}}
}

func TestEndpointHeaders(t *testing.T) {
	t.Setenv("SETTING", "of the environment")
	r, _ := withSecrets(t, vault{"ns/token": {"token": "t", "other": `"quoted"`}})
	got, err := r.endpoint(t.Context(), httpEndpoint(
		named("X-Value", config.Property{Value: "plain"}), named("X-Empty", config.Property{}), named("X-Value", config.Property{Value: "again"}),
		named("X-Secret", ref("token", "")), named("X-Key", ref("token", "other")), named("X-Env", config.Property{EnvRef: "SETTING"})))
	if err != nil {
		t.Fatal(err)
	}
	want := channel.Header{{Name: "X-Value", Value: "plain"}, {Name: "X-Empty"}, {Name: "X-Value", Value: "again"},
		{Name: "X-Secret", Value: "t"}, {Name: "X-Key", Value: "quoted"}, {Name: "X-Env", Value: "of the environment"}}
	if diff := cmp.Diff(want, got.Header); diff != "" {
		t.Error(diff)
	}
	if got.Name != "outside" || got.BaseURL != "https://host:1/path" || got.TLS != nil {
		t.Errorf("endpoint %+v", got)
	}
}

func TestUnusableEndpoints(t *testing.T) {
	certificate, key := pair(t)
	_, otherKey := pair(t)
	withTLS := func(change func(*config.ClientTLS)) func(*config.HTTPEndpoint) {
		return func(e *config.HTTPEndpoint) {
			e.Spec.ClientTLS = &config.ClientTLS{RootCA: config.Property{Value: config.Value(certificate)},
				Certificate: config.Property{Value: config.Value(certificate)}, PrivateKey: config.Property{Value: config.Value(key)}}
			change(e.Spec.ClientTLS)
		}
	}
	header := func(p config.Property) func(*config.HTTPEndpoint) {
		return func(e *config.HTTPEndpoint) { e.Spec.Headers = append(e.Spec.Headers, p) }
	}
	base := func(text string) func(*config.HTTPEndpoint) {
		return func(e *config.HTTPEndpoint) { e.Spec.BaseURL = text }
	}
	const noURL = "spec.baseUrl: want a URL like https://host:port/path"
	tests := map[string]struct {
		change func(*config.HTTPEndpoint)
		want   string
	}{
		"no name":               {func(e *config.HTTPEndpoint) { e.Meta.Name = "" }, "metadata.name is missing"},
		"no URL":                {base(""), noURL},
		"no scheme":             {base("host:80/path"), noURL},
		"other scheme":          {base("ftp://host"), noURL},
		"no host":               {base("http:///path"), noURL},
		"no port number":        {base("http://ada:hunter2@host:x"), noURL},
		"no such store":         {func(e *config.HTTPEndpoint) { header(named("X", ref("token", "")))(e); e.Auth.SecretStore = "other" }, `spec.headers[0] ("X"): the secret store "other" is not loaded: auth.secretStore names it`},
		"no such secret":        {header(named("X", ref("nothing", ""))), `spec.headers[0] ("X"): get the secret nothing: there is no such secret`},
		"other namespace":       {func(e *config.HTTPEndpoint) { header(named("X", ref("token", "")))(e); e.Meta.Namespace = "" }, "get the secret token: there is no such secret"},
		"no such key":           {header(named("X", ref("token", "missing"))), `spec.headers[0] ("X"): the secret token has no key missing`},
		"variable of ours":      {header(named("X", config.Property{EnvRef: "DAPR_API_TOKEN"})), `spec.headers[0] ("X"): the environment variable "DAPR_API_TOKEN" is not allowed`},
		"header without a name": {header(config.Property{Value: "hunter2"}), `spec.headers[0] (""): this is no name of a header`},
		"name with a space":     {header(named("X Y", config.Property{})), `spec.headers[0] ("X Y"): this is no name`},
		"name with a line":      {header(named("X\r\nY", config.Property{})), `("X\r\nY"): this is no name`},
		"secret with a line":    {header(named("X", ref("lines", ""))), `spec.headers[0] ("X"): the value holds a line break`},
		"no authority":          {withTLS(func(c *config.ClientTLS) { c.RootCA.Value = "hunter2" }), "spec.clientTLS.rootCA holds no certificate in PEM form"},
		"key of another":        {withTLS(func(c *config.ClientTLS) { c.PrivateKey.Value = config.Value(otherKey) }), "spec.clientTLS: certificate and privateKey are no usable pair of PEM texts: "},
		"no key":                {withTLS(func(c *config.ClientTLS) { c.PrivateKey.Value = "" }), "spec.clientTLS: certificate and privateKey are no usable pair"},
		"no certificate":        {withTLS(func(c *config.ClientTLS) { c.Certificate.Value = "" }), "spec.clientTLS: certificate and privateKey are no usable pair"},
		"key that is none":      {withTLS(func(c *config.ClientTLS) { c.PrivateKey.Value = "hunter2" }), "spec.clientTLS: certificate and privateKey are no usable pair"},
		"secret of TLS":         {withTLS(func(c *config.ClientTLS) { c.PrivateKey = ref("nothing", "") }), "spec.clientTLS.privateKey: get the secret nothing"},
		"renegotiation":         {withTLS(func(c *config.ClientTLS) { c.Renegotiation = "never" }), `spec.clientTLS.renegotiation "never": want Never, OnceAsClient or FreelyAsClient`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r, _ := withSecrets(t, vault{"ns/token": {"token": "hunter2"}, "ns/lines": {"lines": "hunter2\n"}})
			e := httpEndpoint()
			test.change(e)
			_, err := r.endpoint(t.Context(), e)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %q", err, test.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %v holds a secret", err)
			}
		})
	}
}

func TestEndpointTLS(t *testing.T) {
	certificate, key := pair(t)
	r, _ := withSecrets(t, vault{"ns/tls": {"ca": certificate, "certificate": certificate, "key": key}})
	e := httpEndpoint()
	e.Spec.ClientTLS = &config.ClientTLS{RootCA: ref("tls", "ca"), Certificate: ref("tls", "certificate"), PrivateKey: ref("tls", "key")}
	got, err := r.endpoint(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	if got.TLS.RootCAs == nil || len(got.TLS.Certificates) != 1 || got.TLS.InsecureSkipVerify || got.TLS.MinVersion != tls.VersionTLS12 {
		t.Errorf("TLS %+v", got.TLS)
	}
	e.Spec.ClientTLS = &config.ClientTLS{}
	if got, err = r.endpoint(t.Context(), e); err != nil || got.TLS == nil || got.TLS.RootCAs != nil || got.TLS.Certificates != nil || got.TLS.InsecureSkipVerify {
		t.Errorf("TLS %+v, error %v of the system's own settings", got.TLS, err)
	}
	for text, want := range map[string]tls.RenegotiationSupport{"": tls.RenegotiateNever, "Never": tls.RenegotiateNever,
		"OnceAsClient": tls.RenegotiateOnceAsClient, "FreelyAsClient": tls.RenegotiateFreelyAsClient} {
		e.Spec.ClientTLS.Renegotiation = text
		if got, err := r.endpoint(t.Context(), e); err != nil || got.TLS.Renegotiation != want {
			t.Errorf("%q: %+v, %v", text, got.TLS, err)
		}
	}
}

// TestOpenEndpoints: a bad one is logged with its place and keeps no other from being called.
func TestOpenEndpoints(t *testing.T) {
	at := func(name, namespace string, scopes ...string) config.HTTPEndpoint {
		return config.HTTPEndpoint{Meta: config.Meta{Name: name, Namespace: namespace}, Scopes: scopes,
			Spec: config.HTTPEndpointSpec{BaseURL: "http://host"}, Origin: config.Origin{File: "e.yaml", Document: 2, Line: 7}}
	}
	bad := at("bad", "")
	bad.Spec.BaseURL = "nonsense"
	badOfOthers := at("bad of others", "", "x")
	badOfOthers.Spec.BaseURL = "nonsense"
	r, hook := withSecrets(t, vault{})
	found := []config.HTTPEndpoint{at("first", ""), bad, at("scoped", "", "x", "app"), at("of others", "", "x"), at("elsewhere", "other"), at("last", "ns"), badOfOthers}
	r.openEndpoints(t.Context(), r.endpointsOf(&config.Resources{HTTPEndpoints: found}))
	if diff := cmp.Diff([]string{"first", "scoped", "last"}, r.endpointNames()); diff != "" {
		t.Error(diff)
	}
	if _, ok := r.endpoints.Load(); !ok {
		t.Error("nothing can be called")
	}
	if len(hook.Entries) != 1 || hook.LastEntry().Level != logrus.ErrorLevel ||
		hook.LastEntry().Message != "the HTTPEndpoint bad (e.yaml (document 2, line 7)) is left out: spec.baseUrl: want a URL like https://host:port/path" {
		t.Errorf("log %+v", hook.LastEntry())
	}
}
