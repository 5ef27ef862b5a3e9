package config

import (
	"fmt"
	"strings"
)

// Protocol is what the application speaks.
type Protocol string

// The protocols of --app-protocol. TLS of the application (https, grpcs) is not verified: it is beside us.
const (
	HTTP  Protocol = "http"
	HTTPS Protocol = "https"
	H2C   Protocol = "h2c"
	GRPC  Protocol = "grpc"
	GRPCS Protocol = "grpcs"
)

// ParseProtocol reads a protocol in any case; "" is HTTP.
func ParseProtocol(text string) (Protocol, error) {
	switch p := Protocol(strings.ToLower(text)); p {
	case "":
		return HTTP, nil
	case HTTP, HTTPS, H2C, GRPC, GRPCS:
		return p, nil
	}
	return "", fmt.Errorf("invalid value for 'app-protocol': %s (it takes http, https, h2c, grpc, grpcs)", text)
}

// IsGRPC says whether calls go through AppCallback instead of HTTP.
func (p Protocol) IsGRPC() bool { return p == GRPC || p == GRPCS }

// WithTLS is the protocol over TLS: what --app-ssl asks for. H2C has no such form and stays.
func (p Protocol) WithTLS() Protocol {
	switch p {
	case HTTP:
		return HTTPS
	case GRPC:
		return GRPCS
	}
	return p
}
