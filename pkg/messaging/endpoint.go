package messaging

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/channel"
)

const (
	endpointIdle  = 90 * time.Second
	endpointConns = 64
)

// Endpoint is an HTTPEndpoint resource: a service that has no sidecar.
type Endpoint struct {
	Name string
	// BaseURL is where the paths begin, with its scheme.
	BaseURL string
	// Header replaces equal headers of the caller.
	Header channel.Header
	// TLS is nil for the system's own settings.
	TLS *tls.Config
}

// Endpoints are services that are called over plain HTTP. No token and no name of this sidecar goes to
// them.
type Endpoints struct {
	named map[string]*endpoint
	plain *http.Client
}

// endpoint is one of them.
type endpoint struct {
	base   string
	header channel.Header
	client *http.Client
}

// NewEndpoints makes the clients of the endpoints; none is called yet.
func NewEndpoints(resources []Endpoint) *Endpoints {
	e := &Endpoints{named: make(map[string]*endpoint, len(resources)), plain: newClient(nil)}
	for _, r := range resources {
		client := e.plain
		if r.TLS != nil {
			client = newClient(r.TLS)
		}
		e.named[r.Name] = &endpoint{base: strings.TrimSuffix(r.BaseURL, "/"), header: r.Header, client: client}
	}
	return e
}

// Close ends the idle connections.
func (e *Endpoints) Close() error {
	e.plain.CloseIdleConnections()
	for _, each := range e.named {
		each.client.CloseIdleConnections()
	}
	return nil
}

func newClient(config *tls.Config) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: PeerPing}).DialContext,
			TLSClientConfig:     config,
			ForceAttemptHTTP2:   true,
			MaxIdleConns:        4 * endpointConns,
			MaxIdleConnsPerHost: endpointConns,
			IdleConnTimeout:     endpointIdle,
			DisableCompression:  true,
		},
	}
}

// endpoint finds the service that id names, as a resource or as a URL.
func (d *Direct) endpoint(id string) (*endpoint, bool) {
	if strings.HasPrefix(id, "http://") || strings.HasPrefix(id, "https://") {
		return &endpoint{base: strings.TrimSuffix(id, "/"), client: d.plain.plain}, true
	}
	all, ok := d.endpoints.Load()
	if !ok {
		return nil, false
	}
	found, ok := all.named[id]
	return found, ok
}

// Invoke makes the call. Redirects are answers, and bodies stream both ways.
func (e *endpoint) Invoke(ctx context.Context, req *channel.Request) (*channel.Response, error) {
	ctx, cancel := context.WithCancel(ctx)
	request, err := e.request(ctx, req)
	if err != nil {
		cancel()
		return nil, err
	}
	answer, err := e.client.Do(request)
	if err != nil {
		cancel()
		return nil, withoutQuery(err)
	}
	release := func() {
		cancel()
		_ = answer.Body.Close()
	}
	return &channel.Response{
		Status:      answer.StatusCode,
		Header:      channel.HeaderOf(answer.Header),
		ContentType: answer.Header.Get(typeHeader),
		Body:        endpointBody(request.Method, answer),
		Release:     release,
	}, nil
}

func (e *endpoint) request(ctx context.Context, req *channel.Request) (*http.Request, error) {
	verb := req.Verb
	if verb == "" || verb == noVerb {
		return nil, status.Error(codes.InvalidArgument, "missing HTTP extension field")
	}
	address := e.base + "/" + string(channel.EscapeMethod(nil, req.Method))
	if req.Query != "" {
		address += "?" + string(channel.EscapeQuery(nil, req.Query))
	}
	request, err := http.NewRequestWithContext(ctx, verb, address, readerOf(req.Body))
	if err != nil {
		return nil, withoutQuery(err)
	}
	request.ContentLength = req.Body.Size()
	e.setHeader(request.Header, req)
	return request, nil
}

// setHeader leaves out what says who the caller is to sidecars only.
func (e *endpoint) setHeader(header http.Header, req *channel.Request) {
	for _, f := range req.Header {
		if name, ok := channel.HTTPName(f.Name); ok && !isIdentity(name) && !isToken(name) {
			header.Add(name, f.Value)
		}
	}
	if req.ContentType != "" {
		header.Set(typeHeader, req.ContentType)
	}
	for _, f := range e.header {
		header.Set(f.Name, f.Value)
	}
	if _, ok := header["User-Agent"]; !ok {
		header["User-Agent"] = nil
	}
}

// isToken says whether the header holds a secret between an application and its sidecar.
func isToken(name string) bool {
	return strings.EqualFold(name, "dapr-api-token") || strings.EqualFold(name, AppIDHeader)
}

func readerOf(body channel.Body) io.Reader {
	if body.Size() == 0 {
		return http.NoBody
	}
	return body.Reader()
}

func endpointBody(verb string, answer *http.Response) channel.Body {
	if channel.Bodyless(verb, answer.StatusCode) {
		return channel.Withhold(answer.StatusCode, declaredLength(lengthHeader, answer.Header.Get(lengthHeader)))
	}
	if answer.ContentLength == 0 || answer.Body == http.NoBody {
		return channel.Body{}
	}
	return channel.Body{Stream: answer.Body, Length: answer.ContentLength}
}

// withoutQuery takes query and user, which may hold secrets, out of an error of net/http.
func withoutQuery(err error) error {
	failed, ok := err.(*url.Error)
	if !ok {
		return err
	}
	path, _, _ := strings.Cut(failed.URL, "?")
	if failed.Op == "parse" {
		// The cause quotes the part of the URL that it is about.
		return fmt.Errorf("%q is no usable URL", WithoutUser(path))
	}
	return fmt.Errorf("%s %q: %w", failed.Op, WithoutUser(path), failed.Err)
}

// WithoutUser takes the user and the password out of an id that is a URL, for texts; any other id stays.
func WithoutUser(id string) string {
	scheme, rest, ok := strings.Cut(id, "://")
	if !ok {
		return id
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = rest[at+1:]
	}
	return scheme + "://" + rest
}
