package tracing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"contrib.go.opencensus.io/exporter/zipkin"
	"github.com/openzipkin/zipkin-go/model"
	"go.opencensus.io/trace"
)

// zipkinTimeout bounds one export to Zipkin.
const zipkinTimeout = 5 * time.Second

// scope names what made the spans.
const scope = "daprd"

// toZipkin posts spans as Zipkin's JSON of version 2. OpenCensus's exporter makes them.
type toZipkin struct {
	address, service string
	client           *http.Client
	from             *zipkin.Exporter
	batch            []model.SpanModel
}

func newZipkin(address, service, host string) *toZipkin {
	z := &toZipkin{address: address, service: service, client: newClient(nil)}
	local := &model.Endpoint{ServiceName: service}
	if ip := net.ParseIP(host); ip.To4() != nil {
		local.IPv4 = ip
	} else {
		local.IPv6 = ip
	}
	z.from = zipkin.NewExporter(gathering{z}, local)
	return z
}

// gathering is where OpenCensus's exporter leaves a span.
type gathering struct{ to *toZipkin }

// Send gives a span the names and tags that Dapr 1.18 sends.
func (g gathering) Send(span model.SpanModel) {
	span.Name = strings.ToLower(span.Name)
	if span.Tags == nil {
		span.Tags = map[string]string{}
	}
	span.Tags["service.name"], span.Tags["otel.scope.name"] = g.to.service, scope
	if message, failed := span.Tags["opencensus.status_description"]; failed {
		span.Tags["error"], span.Tags["otel.status_code"] = message, "ERROR"
		delete(span.Tags, "opencensus.status_description")
	}
	g.to.batch = append(g.to.batch, span)
}

// Close has nothing to do.
func (gathering) Close() error { return nil }

func (*toZipkin) kind() string   { return "zipkin" }
func (z *toZipkin) name() string { return "Zipkin at " + shown(z.address) }
func (z *toZipkin) close()       { z.client.CloseIdleConnections() }

func (z *toZipkin) send(ctx context.Context, spans []*trace.SpanData) error {
	z.batch = make([]model.SpanModel, 0, len(spans))
	for _, span := range spans {
		z.from.ExportSpan(span)
	}
	body, err := json.Marshal(z.batch)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, zipkinTimeout)
	defer cancel()
	_, err = post(ctx, z.client, z.address, http.Header{"Content-Type": {"application/json"}}, body)
	return err
}

// shown is an address, with a scheme or without, and without what may be secret in it: a user, a query.
func shown(address string) string {
	complete := address
	if !strings.Contains(address, "://") {
		complete = "//" + address
	}
	u, err := url.Parse(complete)
	if err != nil {
		return "an address that cannot be read"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return strings.TrimPrefix(u.String(), "//")
}

// withoutAddress is an error of net/http's without the URL, in which secrets may stand.
func withoutAddress(err error) error {
	if of, ok := errors.AsType[*url.Error](err); ok {
		return of.Err
	}
	return err
}

// mostAnswer bounds, in bytes, what is read of an answer.
const mostAnswer = 64 << 10

// post sends a body and gives the answer's. What it makes no sense to send again is an error that is final.
func post(ctx context.Context, client *http.Client, address string, header http.Header, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, final(withoutAddress(err))
	}
	r.Header = header
	answer, err := client.Do(r)
	if err != nil {
		return nil, withoutAddress(err)
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(io.LimitReader(answer.Body, mostAnswer))
	if answer.StatusCode/100 == 2 {
		return said, err
	}
	err = fmt.Errorf("it answers %s", answer.Status)
	switch answer.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return nil, err
	}
	return nil, final(err)
}
