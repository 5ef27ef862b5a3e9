package httpbinding

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/config"
)

// defaultResponseSize bounds an answer, in bytes, unless the manifest says otherwise: Dapr's 100 MB.
const defaultResponseSize = 100 << 20

type settings struct {
	URL                 string        `metadata:"url,required"`
	RootCA              string        `metadata:"mtlsRootCA,secret"`
	ClientCert          string        `metadata:"mtlsClientCert,secret"`
	ClientKey           string        `metadata:"mtlsClientKey,secret"`
	Renegotiation       string        `metadata:"mtlsRenegotiation" oneof:"RenegotiateNever,RenegotiateOnceAsClient,RenegotiateFreelyAsClient"`
	SecurityToken       string        `metadata:"securityToken,secret"`
	SecurityTokenHeader string        `metadata:"securityTokenHeader"`
	ErrorIfNot2XX       bool          `metadata:"errorIfNot2XX"`
	ResponseTimeout     time.Duration `metadata:"responseTimeout"`
	MaxResponseBodySize string        `metadata:"maxResponseBodySize"`
}

// read makes the binding of the manifest.
func read(spec *components.Spec) (*binding, error) {
	s := settings{ErrorIfNot2XX: true}
	if err := components.Decode(spec, &s); err != nil {
		return nil, err
	}
	base, err := s.base()
	if err != nil {
		return nil, err
	}
	limit, err := s.limit()
	if err != nil {
		return nil, err
	}
	if err := s.checkToken(); err != nil {
		return nil, err
	}
	security, err := s.tls()
	if err != nil {
		return nil, err
	}
	if s.ResponseTimeout < 0 {
		return nil, fmt.Errorf("metadata property responseTimeout: %s is negative: want a duration like 30s", s.ResponseTimeout)
	}
	b := &binding{settings: s, base: base, limit: limit, transport: http.DefaultTransport.(*http.Transport).Clone()}
	b.transport.TLSClientConfig = security
	b.client = &http.Client{Transport: b.transport, CheckRedirect: b.redirect}
	return b, nil
}

// base checks the URL; errors do not show it, since it may hold a password.
func (s *settings) base() (*url.URL, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("metadata property url: the value (not shown) is no address: want one that begins with http:// or https:// and a host")
	}
	return u, nil
}

func (s *settings) limit() (int64, error) {
	if s.MaxResponseBodySize == "" {
		return defaultResponseSize, nil
	}
	n, err := config.ParseQuantity(strings.TrimSuffix(s.MaxResponseBodySize, "B"))
	if err == nil && n <= 0 {
		err = errors.New("it has to be more than 0")
	}
	if err != nil {
		return 0, fmt.Errorf("metadata property maxResponseBodySize: %w", err)
	}
	return n, nil
}

func (s *settings) checkToken() error {
	switch {
	case (s.SecurityToken == "") != (s.SecurityTokenHeader == ""):
		return errors.New("metadata properties securityToken and securityTokenHeader go together: one of them is missing")
	case s.SecurityTokenHeader != "" && !httpguts.ValidHeaderFieldName(s.SecurityTokenHeader):
		return fmt.Errorf("metadata property securityTokenHeader: %q is no name of a header", s.SecurityTokenHeader)
	case !httpguts.ValidHeaderFieldValue(s.SecurityToken):
		return errors.New("metadata property securityToken: the value (not shown) cannot stand in a header: it holds line breaks or control characters")
	}
	return nil
}

// tls reads the certificates: each is a PEM text or the path of a file with one.
func (s *settings) tls() (*tls.Config, error) {
	security := &tls.Config{MinVersion: tls.VersionTLS12, Renegotiation: s.renegotiation()}
	if s.RootCA != "" {
		text, err := pemText("mtlsRootCA", s.RootCA)
		if err != nil {
			return nil, err
		}
		security.RootCAs = x509.NewCertPool()
		if !security.RootCAs.AppendCertsFromPEM(text) {
			return nil, errors.New("metadata property mtlsRootCA: no certificate is in it")
		}
	}
	if (s.ClientCert == "") != (s.ClientKey == "") {
		return nil, errors.New("metadata properties mtlsClientCert and mtlsClientKey go together: one of them is missing")
	}
	if s.ClientCert == "" {
		return security, nil
	}
	cert, err := pemText("mtlsClientCert", s.ClientCert)
	if err != nil {
		return nil, err
	}
	key, err := pemText("mtlsClientKey", s.ClientKey)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("metadata properties mtlsClientCert and mtlsClientKey: %w", err)
	}
	security.Certificates = []tls.Certificate{pair}
	return security, nil
}

func (s *settings) renegotiation() tls.RenegotiationSupport {
	switch s.Renegotiation {
	case "RenegotiateOnceAsClient":
		return tls.RenegotiateOnceAsClient
	case "RenegotiateFreelyAsClient":
		return tls.RenegotiateFreelyAsClient
	}
	return tls.RenegotiateNever
}

// pemText is a value that is PEM, or the content of the file that it names.
func pemText(property, value string) ([]byte, error) {
	if block, _ := pem.Decode([]byte(value)); block != nil {
		return []byte(value), nil
	}
	if strings.Contains(value, "-----BEGIN") || strings.Contains(value, "\n") {
		return nil, fmt.Errorf("metadata property %s: the value (not shown) is neither a PEM text nor the path of a file", property)
	}
	text, err := os.ReadFile(value)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err // the value may be a secret that was put in the wrong place
		}
		return nil, fmt.Errorf("metadata property %s: the value (not shown) is no PEM text, and as the path of a file it cannot be read: %w", property, err)
	}
	return text, nil
}
