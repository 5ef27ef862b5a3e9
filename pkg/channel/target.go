package channel

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/daprd/daprd/pkg/security"
	"github.com/daprd/daprd/pkg/tracing"
)

const (
	tokenHeader = "dapr-api-token"
	// userAgent is what applications of Dapr 1.18 see where the caller names none.
	userAgent = "Go-http-client/1.1"
)

// target is where HTTP requests go and what is added to them.
type target struct {
	scheme      string
	host        string
	appID       string
	token       security.Token
	contentType string
}

// appendHead writes the request line and the headers, without those of the body and the empty line.
//
// It is written by hand since fasthttp's request header takes cookies and other headers apart, and what
// was sent has to arrive. No Accept-Encoding is added and no answer unpacked, unlike Dapr 1.18 does: what
// the caller did not ask for costs both sides time, and the application's bytes are not ours to change.
func (t *target) appendHead(b []byte, req *Request) ([]byte, error) {
	b = append(b, req.Verb...)
	b = append(b, ' ', '/')
	b = EscapeMethod(b, req.Method)
	if req.Query != "" {
		b = append(b, '?')
		b = EscapeQuery(b, req.Query)
	}
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, t.host...)
	b = append(b, '\r', '\n')
	return t.appendFields(b, req)
}

func (t *target) appendFields(b []byte, req *Request) (_ []byte, err error) {
	options := connectionOptions(req.Header)
	agent, parent := false, false
	for i := range req.Header {
		name := req.Header[i].Name
		sent, ok := HTTPName(name)
		if !ok || t.replaces(name) || (options != "" && listed(options, name)) {
			continue
		}
		switch len(name) {
		case 10:
			agent = agent || strings.EqualFold(name, "user-agent")
		case 11:
			parent = parent || strings.EqualFold(name, tracing.ParentHeader)
		}
		if b, err = appendField(b, sent, req.Header[i].Value); err != nil {
			return b, err
		}
	}
	if !agent {
		b = append(b, "User-Agent: "+userAgent+"\r\n"...)
	}
	if !parent && !req.Untraced {
		b = append(b, "Traceparent: "+tracing.ZeroParent+"\r\n"...)
	}
	return t.appendOwn(b, req)
}

func (t *target) appendOwn(b []byte, req *Request) (_ []byte, err error) {
	if contentType := t.contentTypeOf(req); contentType != "" {
		if b, err = appendField(b, "Content-Type", contentType); err != nil {
			return b, err
		}
	}
	if t.token.Required() {
		if b, err = appendField(b, tokenHeader, t.token.Reveal()); err != nil {
			return b, err
		}
	}
	return b, nil
}

func (t *target) contentTypeOf(req *Request) string {
	if contentType := mediaType(req.ContentType, req.TypeURL); contentType != "" {
		return contentType
	}
	return t.contentType
}

// replaces says whether a header of the target's own stands in the place of the caller's.
func (t *target) replaces(name string) bool {
	return len(name) == len(tokenHeader) && t.token.Required() && strings.EqualFold(name, tokenHeader)
}

// EscapeQuery writes the query as it was sent, but for what would end the request line: a gRPC caller's
// query is any text.
func EscapeQuery(b []byte, query string) []byte {
	for i := 0; i < len(query); i++ {
		if c := query[i]; c > ' ' && c != 0x7f {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return b
}

// appendField writes one header with its name in the canonical case. It refuses what would be read as
// more than one header; the error never holds the value.
func appendField(b []byte, name, value string) ([]byte, error) {
	upper := true
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case !tokenByte[c]:
			return b, fmt.Errorf("invalid header field name %q", name)
		case upper && 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		case !upper && 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		upper = c == '-'
		b = append(b, c)
	}
	for i := 0; i < len(value); i++ {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return b, fmt.Errorf("invalid header field value for %q", name)
		}
	}
	b = append(b, ':', ' ')
	b = append(b, value...)
	return append(b, '\r', '\n'), nil
}

// tokenByte are the bytes of a header's name (RFC 9110, 5.6.2).
var tokenByte = func() (table [256]bool) {
	for c := range table {
		alphanumeric := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		table[c] = alphanumeric || c < 0x80 && c > ' ' && strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0
	}
	return table
}()

// IsHeaderName says whether a text can be the name of a header.
func IsHeaderName(name string) bool {
	for i := 0; i < len(name); i++ {
		if !tokenByte[name[i]] {
			return false
		}
	}
	return name != ""
}

// appendFraming ends the head: how long the body is, and the empty line.
func appendFraming(b []byte, verb string, body Body) []byte {
	switch size := body.Size(); {
	case size < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case size > 0 || verb == "POST" || verb == "PUT" || verb == "PATCH":
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, size, 10)
		b = append(b, '\r', '\n')
	}
	return append(b, '\r', '\n')
}
