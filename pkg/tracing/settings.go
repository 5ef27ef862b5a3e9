package tracing

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/daprd/daprd/pkg/config"
)

// settings are what the Configuration and the environment say of tracing.
type settings struct {
	// on: spans are made, with this rate.
	on   bool
	rate float64
	// exporters are connected to nothing yet.
	exporters []exporter
}

func settingsOf(spec config.TracingSpec, deps Deps, getenv func(string) string) (settings, error) {
	var s settings
	resource := resourceOf(deps.AppID, getenv)
	if spec.Stdout {
		s.exporters = append(s.exporters, stdout{deps.Spans})
	}
	if address := spec.Zipkin.EndpointAddress; address != "" {
		s.exporters = append(s.exporters, newZipkin(address, resource[serviceName], deps.Host))
	}
	endpoint, fromEnvironment, err := endpointOf(spec.OTel, getenv)
	if err != nil {
		return s, err
	}
	if endpoint.address != "" {
		to, err := newOTLP(endpoint, resource)
		if err != nil {
			return s, err
		}
		s.exporters = append(s.exporters, to)
	}
	if fromEnvironment {
		spec.SamplingRate = cmp.Or(spec.SamplingRate, "1")
	}
	s.rate = rateOf(spec.SamplingRate)
	// Without a word about rates and exporters there are no spans, as in Dapr 1.18.
	s.on = spec.SamplingRate != "" || len(s.exporters) > 0
	return s, nil
}

// rateOf reads a sampling rate; what is none is the default, and there is no more than all.
func rateOf(word string) float64 {
	rate, err := strconv.ParseFloat(word, 64)
	if err != nil || !(rate >= 0) {
		return defaultRate
	}
	return min(rate, 1)
}

func (s *settings) close() {
	for _, e := range s.exporters {
		e.close()
	}
}

// serviceName is the attribute with the name under which the spans are shown.
const serviceName = "service.name"

// resourceOf tells who makes the spans: the application, unless the environment names something else.
func resourceOf(appID string, getenv func(string) string) map[string]string {
	resource := map[string]string{serviceName: appID}
	for name, value := range pairs(getenv("OTEL_RESOURCE_ATTRIBUTES")) {
		resource[name] = value
	}
	resource[serviceName] = cmp.Or(getenv("OTEL_SERVICE_NAME"), resource[serviceName])
	return resource
}

// pairs reads "name=value,name=value", with escapes in the values; what is none is passed over.
func pairs(list string) map[string]string {
	all := map[string]string{}
	for pair := range strings.SplitSeq(list, ",") {
		name, value, ok := strings.Cut(pair, "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			continue
		}
		if unescaped, err := url.PathUnescape(strings.TrimSpace(value)); err == nil {
			all[name] = unescaped
		}
	}
	return all
}

// endpointOf is where OTLP goes: what the Configuration says, or else the environment.
func endpointOf(spec config.OTelSpec, getenv func(string) string) (s otlpSettings, fromEnvironment bool, err error) {
	variable := func(name string) string {
		return cmp.Or(getenv("OTEL_EXPORTER_OTLP_TRACES_"+name), getenv("OTEL_EXPORTER_OTLP_"+name))
	}
	secure := true
	if spec.EndpointAddress != "" {
		s.address, s.http = spec.EndpointAddress, spec.Protocol == HTTP
		if spec.Protocol != "" && spec.Protocol != HTTP && spec.Protocol != GRPC {
			return s, false, fmt.Errorf("spec.tracing.otel.protocol is %q: want %s or %s", spec.Protocol, GRPC, HTTP)
		}
		if spec.IsSecure != nil {
			secure = *spec.IsSecure
		}
		if spec.Timeout != "" {
			if s.timeout, err = time.ParseDuration(spec.Timeout); err != nil || s.timeout <= 0 {
				return s, false, fmt.Errorf("spec.tracing.otel.timeout is %q: want a duration like 10s", spec.Timeout)
			}
		}
		s.headers, err = headersOf(spec.Headers)
	} else {
		s.address, fromEnvironment = variable("ENDPOINT"), variable("ENDPOINT") != ""
		s.http = strings.HasPrefix(variable("PROTOCOL"), HTTP)
		secure = variable("INSECURE") != "true"
		s.headers = pairs(variable("HEADERS"))
		if milliseconds, err := strconv.Atoi(variable("TIMEOUT")); err == nil && milliseconds > 0 {
			s.timeout = time.Duration(milliseconds) * time.Millisecond
		}
	}
	s.address = strings.TrimPrefix(strings.TrimPrefix(s.address, "https://"), "http://")
	if fromEnvironment && s.http && getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		s.address = strings.TrimSuffix(s.address, "/") + otlpPath // it is the address of all signals
	}
	s.timeout = cmp.Or(s.timeout, otlpTimeout)
	if err == nil && s.address != "" && secure {
		s.tls, err = trusting(variable("CERTIFICATE"))
	}
	return s, fromEnvironment, err
}

// headersOf are what is sent with every export.
func headersOf(list []config.OTelHeader) (map[string]string, error) {
	headers := make(map[string]string, len(list))
	for _, h := range list {
		value := string(h.Value)
		switch {
		case h.SecretKeyRef.Name != "" && value != "":
			// The operator has looked it up.
		case h.SecretKeyRef.Name != "":
			return nil, fmt.Errorf("spec.tracing.otel.headers: %s refers to a secret, but no secret store is there when the Configuration is read: use envRef", h.Name)
		case h.EnvRef != "":
			var err error
			if value, err = config.Environment(h.EnvRef); err != nil {
				return nil, fmt.Errorf("spec.tracing.otel.headers: %s: %w", h.Name, err)
			}
		}
		headers[h.Name] = value
	}
	return headers, nil
}

// trusting are the settings of TLS: the system's authorities, or those in the file of certificates.
func trusting(file string) (*tls.Config, error) {
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return secure, nil
	}
	certificates, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %w", err)
	}
	secure.RootCAs = x509.NewCertPool()
	if !secure.RootCAs.AppendCertsFromPEM(certificates) {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %s holds no certificate in PEM", file)
	}
	return secure, nil
}
