package config

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// TracingSpec says which spans are made and where they go.
type TracingSpec struct {
	// SamplingRate is a number from 0 (no tracing at all) to 1 as text; "" is 0.0001.
	SamplingRate string     `yaml:"samplingRate"`
	Stdout       bool       `yaml:"stdout"`
	Zipkin       ZipkinSpec `yaml:"zipkin"`
	OTel         OTelSpec   `yaml:"otel"`
}

// ZipkinSpec is an exporter.
type ZipkinSpec struct {
	EndpointAddress string `yaml:"endpointAddress"`
}

// OTelSpec is an exporter.
type OTelSpec struct {
	// Protocol is grpc or http.
	Protocol        string `yaml:"protocol"`
	EndpointAddress string `yaml:"endpointAddress"`
	// IsSecure is true where it is not given.
	IsSecure *bool        `yaml:"isSecure"`
	Headers  []OTelHeader `yaml:"headers"`
	// Timeout is a Go duration.
	Timeout string `yaml:"timeout"`
}

// OTelHeader is sent with every export. It is written as "name=value" or like a property.
type OTelHeader Property

// UnmarshalYAML takes both forms.
func (h *OTelHeader) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode {
		return node.Decode((*Property)(h))
	}
	name, value, ok := strings.Cut(node.Value, "=")
	if !ok {
		return unusable(fmt.Errorf("line %d: a header is written name=value", node.Line))
	}
	*h = OTelHeader{Name: name, Value: Value(value)}
	return nil
}
