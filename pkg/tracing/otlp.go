package tracing

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.opencensus.io/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/daprd/daprd/pkg/proto/wire"
)

const (
	// otlpTimeout bounds one attempt where nothing else is said; it is OTLP's own.
	otlpTimeout = 10 * time.Second
	// otlpMethod and otlpPath are where traces are taken.
	otlpMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
	otlpPath   = "/v1/traces"
)

// otlpSettings are what the Configuration or the environment say of an OTLP endpoint.
type otlpSettings struct {
	// address is host, port and, over HTTP, perhaps a path.
	address string
	http    bool
	// tls is nil for clear text.
	tls     *tls.Config
	headers map[string]string
	timeout time.Duration
}

// toOTLP sends spans to a collector of OpenTelemetry.
type toOTLP struct {
	otlpSettings
	resource map[string]string
	// call makes one attempt and gives the answer.
	call func(ctx context.Context, body []byte) ([]byte, error)
	end  func()
}

func newOTLP(s otlpSettings, resource map[string]string) (*toOTLP, error) {
	o := &toOTLP{otlpSettings: s, resource: resource}
	if s.http {
		o.overHTTP()
		return o, nil
	}
	return o, o.overGRPC()
}

func (o *toOTLP) overHTTP() {
	client, header := newClient(o.tls), http.Header{"Content-Type": {"application/x-protobuf"}}
	for name, value := range o.headers {
		header.Set(name, value)
	}
	address := o.address
	if _, path, _ := strings.Cut(address, "/"); path == "" {
		address = strings.TrimSuffix(address, "/") + otlpPath
	}
	scheme := "https://"
	if o.tls == nil {
		scheme = "http://"
	}
	o.call = func(ctx context.Context, body []byte) ([]byte, error) {
		return post(ctx, client, scheme+address, header.Clone(), body)
	}
	o.end = client.CloseIdleConnections
}

func (o *toOTLP) overGRPC() error {
	secure := insecure.NewCredentials()
	if o.tls != nil {
		secure = credentials.NewTLS(o.tls)
	}
	conn, err := grpc.NewClient(o.address, grpc.WithTransportCredentials(secure), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.Codec{})))
	if err != nil {
		return fmt.Errorf("OTLP endpoint %s: %w", o.address, err)
	}
	header := metadata.New(o.headers)
	o.call = func(ctx context.Context, body []byte) ([]byte, error) {
		var answer wire.Frame
		defer answer.Free()
		err := conn.Invoke(metadata.NewOutgoingContext(ctx, header), otlpMethod, wire.NewFrame(mem.BufferSlice{mem.SliceBuffer(body)}), &answer)
		switch status.Code(err) {
		case codes.OK:
			return answer.Bytes(), nil
		case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss:
			return nil, err
		}
		return nil, final(err)
	}
	o.end = func() { _ = conn.Close() }
	return nil
}

func (*toOTLP) kind() string   { return "otlp" }
func (o *toOTLP) name() string { return "OTLP at " + shown(o.address) }
func (o *toOTLP) close()       { o.end() }

func (o *toOTLP) send(ctx context.Context, spans []*trace.SpanData) error {
	body, err := proto.Marshal(tracesOf(o.resource, spans))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	answer, err := o.call(ctx, body)
	if err != nil && o.tls != nil && (strings.Contains(err.Error(), "first record does not look like a TLS handshake") ||
		strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")) {
		return fmt.Errorf("%w: it speaks clear text, which isSecure: false or OTEL_EXPORTER_OTLP_INSECURE=true asks for", err)
	}
	if err != nil {
		return err
	}
	return rejected(answer)
}

// rejected reads of an ExportTraceServiceResponse whether spans were not taken: its field partial_success. They are not
// to be sent again.
func rejected(answer []byte) error {
	partial := field(answer, 1)
	count, _ := protowire.ConsumeVarint(field(partial, 1))
	if count == 0 {
		return nil
	}
	return final(fmt.Errorf("it rejects %d spans: %s", count, field(partial, 2)))
}

// field is the raw value of a field of a message, nil where it is missing or the message cannot be read: without the length
// in front where it has one.
func field(message []byte, number protowire.Number) []byte {
	for len(message) > 0 {
		n, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return nil
		}
		message = message[size:]
		length := protowire.ConsumeFieldValue(n, kind, message)
		switch {
		case length < 0:
			return nil
		case n != number:
			message = message[length:]
		case kind == protowire.BytesType:
			value, _ := protowire.ConsumeBytes(message)
			return value
		default:
			return message[:length]
		}
	}
	return nil
}

// newClient has connections of its own, which proxies and environment do not touch but by HTTP_PROXY and its sisters.
func newClient(secure *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: secure, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute}}
}
