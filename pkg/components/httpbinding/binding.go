// Package httpbinding is the output binding bindings.http: requests to one HTTP service.
package httpbinding

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/resiliency"
)

// jsonType is what a request says of its body, and accepts, unless its metadata say otherwise.
const jsonType = "application/json; charset=utf-8"

// binding sends requests to one service.
type binding struct {
	settings
	base      *url.URL
	limit     int64
	transport *http.Transport
	client    *http.Client
}

// NewOutput makes bindings.http. It does not call the service.
func NewOutput(_ context.Context, spec *components.Spec) (bindings.Output, error) {
	b, err := read(spec)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Operations are the verbs; create is POST.
func (b *binding) Operations() []string {
	return []string{"create", "get", "head", "post", "put", "patch", "delete", "options", "trace"}
}

// Close ends idle connections.
func (b *binding) Close() error {
	b.transport.CloseIdleConnections()
	return nil
}

// Invoke makes one request and reads the answer. An answer that is not 2xx is an error, and the Response tells of it
// too.
func (b *binding) Invoke(ctx context.Context, req *bindings.Request) (*bindings.Response, error) {
	if b.ResponseTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.ResponseTimeout)
		defer cancel()
	}
	request, err := b.request(ctx, req)
	if err != nil {
		return nil, err
	}
	answer, err := b.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s to %s: %w", request.Method, b.base.Host, inner(err))
	}
	defer func() { _ = answer.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(answer.Body, b.limit+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", b.base.Host, err)
	}
	if int64(len(data)) > b.limit {
		return nil, fmt.Errorf("the answer of %s has more than %d bytes; the metadata property maxResponseBodySize allows more", b.base.Host, b.limit)
	}
	response := &bindings.Response{Data: data, Metadata: metadata(answer)}
	if answer.StatusCode/100 != 2 && b.strict(req) {
		return response, &statusError{answer.StatusCode, answer.Header.Get("Retry-After")}
	}
	return response, nil
}

// statusError is an answer that is not 2xx.
type statusError struct {
	status     int
	retryAfter string
}

func (e *statusError) Error() string { return "received status code " + strconv.Itoa(e.status) }

// HTTPStatus is that of the answer: the resiliency policies tell by it what another attempt may help.
func (e *statusError) HTTPStatus() int { return e.status }

// RetryAfter is the pause that the answer asks for.
func (e *statusError) RetryAfter() (time.Duration, bool) {
	return resiliency.ParseRetryAfter(e.retryAfter, time.Now())
}

// inner is an error without the URL, which may hold a password or a key.
func inner(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

// strict says whether an answer other than 2xx is an error.
func (b *binding) strict(req *bindings.Request) bool {
	if own, ok := req.Metadata["errorIfNot2XX"]; ok {
		return config.Truthy(own)
	}
	return b.ErrorIfNot2XX
}

func (b *binding) request(ctx context.Context, req *bindings.Request) (*http.Request, error) {
	target, err := b.target(req.Metadata["path"])
	if err != nil {
		return nil, err
	}
	verb := strings.ToUpper(req.Operation)
	if req.Operation == "create" {
		verb = http.MethodPost
	}
	var body io.Reader
	switch verb {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		body = bytes.NewReader(req.Data)
	}
	request, err := http.NewRequestWithContext(ctx, verb, target.String(), body)
	if err != nil {
		return nil, inner(err)
	}
	b.head(request.Header, req, body != nil)
	return request, nil
}

// head writes the headers: what the request's metadata name with an upper-case letter, the trace, the token.
func (b *binding) head(header http.Header, req *bindings.Request, withBody bool) {
	for name, value := range req.Metadata {
		if first, _ := utf8.DecodeRuneInString(name); unicode.IsUpper(first) {
			header.Set(name, value)
		}
	}
	for _, name := range []string{"traceparent", "tracestate", "baggage"} {
		if value := req.Metadata[name]; value != "" {
			header.Set(name, value)
		}
	}
	if withBody {
		header.Set("Content-Type", cmp.Or(header.Get("Content-Type"), jsonType))
	}
	header.Set("Accept", cmp.Or(header.Get("Accept"), jsonType))
	if b.SecurityTokenHeader != "" {
		header.Set(b.SecurityTokenHeader, b.SecurityToken)
	}
}

var errDots = errors.New(`the metadata "path" leads out of the component's URL: ".." is not allowed`)

// target is the component's URL with a path of the request behind it, which cannot leave it.
func (b *binding) target(path string) (*url.URL, error) {
	if path == "" {
		return b.base, nil
	}
	before, query, queried := strings.Cut(b.URL, "?")
	text := strings.TrimRight(before, "/") + "/" + strings.TrimLeft(path, "/")
	switch {
	case queried && strings.Contains(path, "?"):
		text += "&" + query
	case queried:
		text += "?" + query
	}
	u, err := url.Parse(text)
	if err != nil || u.Host != b.base.Host || u.Scheme != b.base.Scheme {
		return nil, fmt.Errorf("the metadata \"path\" %q cannot stand in a URL", path)
	}
	if slices.Contains(strings.FieldsFunc(u.Path, func(r rune) bool { return r == '/' || r == '\\' }), "..") {
		return nil, errDots
	}
	return u, nil
}

// mostRedirects is net/http's own bound.
const mostRedirects = 10

// redirect follows the service elsewhere, but shows the token to its own host only.
func (b *binding) redirect(next *http.Request, before []*http.Request) error {
	if len(before) >= mostRedirects {
		return fmt.Errorf("stopped after %d redirects", mostRedirects)
	}
	if b.SecurityTokenHeader != "" && (next.URL.Host != b.base.Host || next.URL.Scheme != b.base.Scheme) {
		next.Header.Del(b.SecurityTokenHeader)
	}
	return nil
}

// metadata are status and headers of an answer.
func metadata(answer *http.Response) map[string]string {
	all := make(map[string]string, len(answer.Header)+2)
	for name, values := range answer.Header {
		all[name] = strings.Join(values, ", ")
	}
	all["statusCode"], all["status"] = strconv.Itoa(answer.StatusCode), answer.Status
	return all
}
