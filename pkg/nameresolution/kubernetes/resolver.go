// Package kubernetes finds sidecars by the names that a cluster's DNS has for their services: one headless service,
// <app id>-dapr, for all sidecars of an application.
package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"text/template/parse"

	"github.com/daprd/daprd/pkg/nameresolution"
)

// DefaultClusterDomain is that of a cluster which was given none.
const DefaultClusterDomain = "cluster.local"

// Settings are those of the Configuration's spec.nameResolution.configuration.
type Settings struct {
	// ClusterDomain is the end of every name, "" for DefaultClusterDomain.
	ClusterDomain string
	// Template makes the whole address, host:port, in place of Dapr's usual form: text with the fields {{.ID}},
	// {{.Namespace}} and {{.Port}} in the syntax of Go's text/template. "" for none.
	Template string
	// Lookup gives the addresses of a host, nil for those of the system's resolver.
	Lookup func(ctx context.Context, host string) ([]string, error)
}

// Resolver is a nameresolution.Resolver.
type Resolver struct {
	domain   string
	template []parse.Node // nil for the usual form
	lookup   func(context.Context, string) ([]string, error)
}

// New makes a resolver. The error is that of a template which cannot be used.
func New(settings Settings) (*Resolver, error) {
	r := &Resolver{domain: strings.Trim(settings.ClusterDomain, "."), lookup: settings.Lookup}
	if r.domain == "" {
		r.domain = DefaultClusterDomain
	}
	if r.lookup == nil {
		r.lookup = net.DefaultResolver.LookupHost
	}
	if settings.Template == "" {
		return r, nil
	}
	// Its execution by text/template would keep the linker from dropping unused methods: 10 MB.
	trees, err := parse.Parse("address", settings.Template, "", "")
	if err != nil {
		return nil, fmt.Errorf("the template of the name resolution kubernetes: %w", err)
	}
	r.template = trees["address"].Root.Nodes
	if _, _, err := r.place(nameresolution.Target{AppID: "app", Port: 1}); err != nil {
		return nil, err
	}
	return r, nil
}

// Resolve gives the address of every pod of the application. All sidecars are taken to listen on the caller's own port.
func (r *Resolver) Resolve(ctx context.Context, target nameresolution.Target) ([]string, error) {
	host, port, err := r.place(target)
	if err != nil {
		return nil, err
	}
	found, err := r.lookup(ctx, host)
	var unknown *net.DNSError
	if errors.As(err, &unknown) && unknown.IsNotFound {
		return nil, &nameresolution.NotFoundError{AppID: target.AppID}
	}
	if err != nil {
		return nil, fmt.Errorf("look up the sidecars of %s: %w", target.AppID, err)
	}
	if len(found) == 0 {
		return nil, &nameresolution.NotFoundError{AppID: target.AppID}
	}
	addresses := make([]string, len(found))
	for i, ip := range found {
		addresses[i] = net.JoinHostPort(ip, port)
	}
	return addresses, nil
}

// place is where the sidecars of a target are: the name of the usual form is complete, which spares the questions for
// it under each of the pod's search domains.
func (r *Resolver) place(target nameresolution.Target) (host, port string, err error) {
	namespace := target.Namespace
	if namespace == "" {
		namespace = nameresolution.DefaultNamespace
	}
	if r.template == nil {
		return fmt.Sprintf("%s-dapr.%s.svc.%s.", target.AppID, namespace, r.domain), strconv.Itoa(target.Port), nil
	}
	fields := map[string]string{"{{.ID}}": target.AppID, "{{.Namespace}}": namespace, "{{.Port}}": strconv.Itoa(target.Port)}
	var text strings.Builder
	for _, node := range r.template {
		part, known := node.String(), true
		if node.Type() != parse.NodeText {
			part, known = fields[part]
		}
		if !known {
			return "", "", fmt.Errorf("the template of the name resolution kubernetes: %s is unknown: it has .ID, .Namespace and .Port", node)
		}
		text.WriteString(part)
	}
	host, port, err = net.SplitHostPort(text.String())
	if err != nil {
		return "", "", fmt.Errorf("the template of the name resolution kubernetes: want host:port: %w", err)
	}
	return host, port, nil
}
