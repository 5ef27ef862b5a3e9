// Package nameformat makes the address of a sidecar of its app id alone, by a format that the Configuration gives.
package nameformat

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"

	"github.com/daprd/daprd/pkg/nameresolution"
)

// placeholder stands for the app id.
const placeholder = "{appid}"

// Resolver is a nameresolution.Resolver.
type Resolver struct{ format string }

// New makes a resolver of a format, "service-{appid}.example.org" for one; it may end in a port.
func New(format string) (*Resolver, error) {
	if format == "" {
		return nil, errors.New("the name resolution nameformat needs configuration.format, " + placeholder + ".example.org for one")
	}
	if !strings.Contains(format, placeholder) {
		return nil, errors.New("the format of the name resolution nameformat does not contain " + placeholder + ": all applications would be one")
	}
	return &Resolver{format: format}, nil
}

// Resolve gives one address, which is not looked up. Without a port in the format it is the caller's own.
func (r *Resolver) Resolve(_ context.Context, target nameresolution.Target) ([]string, error) {
	address := strings.ReplaceAll(r.format, placeholder, target.AppID)
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(strings.Trim(address, "[]"), strconv.Itoa(target.Port))
	}
	return []string{address}, nil
}
