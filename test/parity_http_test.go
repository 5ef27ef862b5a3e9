package test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// httpAPI is the HTTP API.
type httpAPI struct {
	client *http.Client
	base   string
	// token is shown if it is set.
	token string
}

func (h *httpAPI) name() string { return "http" }

type httpAnswer struct {
	status int
	header http.Header
	body   string
	err    error
}

func (h *httpAPI) call(ctx context.Context, verb, path, body string, header http.Header) httpAnswer {
	request, err := http.NewRequestWithContext(ctx, verb, h.base+path, strings.NewReader(body))
	if err != nil {
		return httpAnswer{err: err}
	}
	if body == "" {
		request.Body, request.ContentLength = http.NoBody, 0
	}
	if header != nil {
		request.Header = header
	}
	if h.token != "" {
		request.Header.Set("dapr-api-token", h.token)
	}
	response, err := h.client.Do(request)
	if err != nil {
		return httpAnswer{err: err}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return httpAnswer{response.StatusCode, response.Header, string(text), err}
}

// fault reads an error's body; nil is success.
func (a httpAnswer) fault() *fault {
	if a.err != nil {
		return &fault{Text: a.err.Error()}
	}
	if a.status < 300 {
		return nil
	}
	var body struct {
		ErrorCode, Message string
		Details            []struct {
			Type   string `json:"@type"`
			Reason string
		}
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		return &fault{HTTP: a.status, Text: a.body}
	}
	f := &fault{HTTP: a.status, Code: body.ErrorCode, Text: body.Message}
	for _, detail := range body.Details {
		if strings.HasSuffix(detail.Type, "google.rpc.ErrorInfo") {
			f.Reason = detail.Reason
		}
	}
	return f
}

// nothing is the meaning of an answer that only says whether it worked: 204 and no body.
func (a httpAnswer) nothing() meaning {
	if f := a.fault(); f != nil {
		return meaning{Fault: f}
	}
	return meaning{Value: a.body, Status: a.status - http.StatusNoContent}
}

// segment escapes a parameter of the path, where the API takes + for a space.
func segment(text string) string { return strings.ReplaceAll(url.PathEscape(text), "+", "%2B") }

func withMetadata(metadata map[string]string) string {
	if len(metadata) == 0 {
		return ""
	}
	query := url.Values{}
	for name, value := range metadata {
		query.Set("metadata."+name, value)
	}
	return "?" + query.Encode()
}

func (h *httpAPI) getState(ctx context.Context, store, key string, metadata map[string]string) (meaning, string) {
	answer := h.call(ctx, "GET", "/v1.0/state/"+segment(store)+"/"+segment(key)+withMetadata(metadata), "", nil)
	if f := answer.fault(); f != nil {
		return meaning{Fault: f}, ""
	}
	etag := answer.header.Get("Etag")
	return meaning{Value: answer.body, ETag: etag != ""}, etag
}

// wireItem is an item in the JSON of the API; the value stands in it as it is.
type wireItem struct {
	Key         string            `json:"key"`
	Value       json.RawMessage   `json:"value,omitempty"`
	ETag        *string           `json:"etag,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	Options     map[string]string `json:"options,omitempty"`
	ContentType string            `json:"-"`
}

func wireItemOf(item stateItem) wireItem {
	w := wireItem{Key: item.Key, Value: json.RawMessage(item.Value), ETag: item.ETag, Metadata: item.Metadata, Options: map[string]string{}}
	if item.Concurrency != "" {
		w.Options["concurrency"] = item.Concurrency
	}
	if item.Consistency != "" {
		w.Options["consistency"] = item.Consistency
	}
	return w
}

// appendWire writes an item without compacting its value, as encoding/json would.
func appendWire(dst []byte, item stateItem) []byte {
	value := item.Value
	item.Value = ""
	head := marshal(wireItemOf(item))
	if value == "" {
		return append(dst, head...)
	}
	dst = append(dst, head[:len(head)-1]...)
	dst = append(dst, `,"value":`...)
	dst = append(dst, value...)
	return append(dst, '}')
}

func marshal(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

func (h *httpAPI) saveState(ctx context.Context, store string, items ...stateItem) meaning {
	body := []byte("[")
	for i, item := range items {
		if i > 0 {
			body = append(body, ',')
		}
		body = appendWire(body, item)
	}
	return h.call(ctx, "POST", "/v1.0/state/"+segment(store), string(append(body, ']')), nil).nothing()
}

func (h *httpAPI) deleteState(ctx context.Context, store string, item stateItem) meaning {
	header := http.Header{}
	if item.ETag != nil {
		header.Set("If-Match", *item.ETag)
	}
	query := url.Values{}
	if item.Concurrency != "" {
		query.Set("concurrency", item.Concurrency)
	}
	if item.Consistency != "" {
		query.Set("consistency", item.Consistency)
	}
	return h.call(ctx, "DELETE", "/v1.0/state/"+segment(store)+"/"+segment(item.Key)+"?"+query.Encode(), "", header).nothing()
}

func (h *httpAPI) getBulkState(ctx context.Context, store string, keys ...string) meaning {
	answer := h.call(ctx, "POST", "/v1.0/state/"+segment(store)+"/bulk", string(marshal(map[string]any{"keys": keys})), nil)
	if f := answer.fault(); f != nil {
		return meaning{Fault: f}
	}
	var items []struct {
		Key, ETag, Error string
		Data             json.RawMessage
	}
	if err := json.Unmarshal([]byte(answer.body), &items); err != nil {
		return meaning{Value: answer.body}
	}
	var m meaning
	for _, item := range items {
		m.Items = append(m.Items, parityItem{item.Key, string(item.Data), item.ETag != "", item.Error})
	}
	return m
}

func (h *httpAPI) transact(ctx context.Context, store string, operations ...stateOperation) meaning {
	body := []byte(`{"operations":[`)
	for i, o := range operations {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, `{"operation":`...)
		body = append(body, marshal(o.Type)...)
		body = append(body, `,"request":`...)
		body = append(appendWire(body, o.Item), '}')
	}
	return h.call(ctx, "POST", "/v1.0/state/"+segment(store)+"/transaction", string(append(body, "]}"...)), nil).nothing()
}

func (h *httpAPI) query(ctx context.Context, store, text string) meaning {
	answer := h.call(ctx, "POST", "/v1.0-alpha1/state/"+segment(store)+"/query", text, nil)
	return meaning{Value: answer.body, Fault: answer.fault()}.ifFault()
}

// ifFault leaves the body out where it is an error's.
func (m meaning) ifFault() meaning {
	if m.Fault != nil {
		m.Value = ""
	}
	return m
}

func (h *httpAPI) secret(ctx context.Context, store, name string) meaning {
	answer := h.call(ctx, "GET", "/v1.0/secrets/"+segment(store)+"/"+segment(name), "", nil)
	if f := answer.fault(); f != nil {
		return meaning{Fault: f}
	}
	var values map[string]string
	if err := json.Unmarshal([]byte(answer.body), &values); err != nil {
		return meaning{Value: answer.body}
	}
	return meaning{Secrets: map[string]map[string]string{name: values}}
}

func (h *httpAPI) secrets(ctx context.Context, store string) meaning {
	answer := h.call(ctx, "GET", "/v1.0/secrets/"+segment(store)+"/bulk", "", nil)
	if f := answer.fault(); f != nil {
		return meaning{Fault: f}
	}
	var all map[string]map[string]string
	if err := json.Unmarshal([]byte(answer.body), &all); err != nil {
		return meaning{Value: answer.body}
	}
	return meaning{Secrets: all}
}

func (h *httpAPI) invoke(ctx context.Context, call invocation) meaning {
	header := http.Header{}
	for name, values := range call.Header {
		header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	if call.ContentType != "" {
		header.Set("Content-Type", call.ContentType)
	}
	// Dot segments that stand in the path as they are would reach over the whole of it.
	method := strings.ReplaceAll((&url.URL{Path: "/" + call.Method}).EscapedPath(), "/..", "/%2e%2e")
	path := "/v1.0/invoke/" + call.ID + "/method" + method
	if call.Query != "" {
		path += "?" + call.Query
	}
	answer := h.call(ctx, call.Verb, path, call.Body, header)
	seen := marked(answer.header)
	if seen == nil && (answer.err != nil || answer.status >= http.StatusBadRequest) {
		// No application has seen the call.
		return meaning{Fault: answer.fault()}
	}
	return meaning{Status: answer.status, Value: answer.body, Header: seen}
}

// marked are the headers with which applications of these tests mark their answers.
func marked(header map[string][]string) map[string][]string {
	var found map[string][]string
	for name, values := range header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-app") {
			if found == nil {
				found = map[string][]string{}
			}
			found[name] = values
		}
	}
	return found
}

func (h *httpAPI) metadata(ctx context.Context) meaning {
	answer := h.call(ctx, "GET", "/v1.0/metadata", "", nil)
	if f := answer.fault(); f != nil {
		return meaning{Fault: f}
	}
	var body struct {
		ID              string
		RuntimeVersion  string
		EnabledFeatures []string
		Components      []struct {
			Name, Type, Version string
			Capabilities        []string
		}
		Extended                map[string]string
		HTTPEndpoints           []struct{ Name string }
		Resiliencies            []struct{ Name string }
		AppConnectionProperties struct {
			Port, MaxConcurrency     int
			Protocol, ChannelAddress string
		}
		ActorRuntime struct{ RuntimeStatus string }
	}
	if err := json.Unmarshal([]byte(answer.body), &body); err != nil {
		return meaning{Value: answer.body}
	}
	app := body.AppConnectionProperties
	info := &parityInfo{ID: body.ID, Version: body.RuntimeVersion, Features: body.EnabledFeatures, Extended: body.Extended,
		AppProtocol: app.Protocol, AppAddress: app.ChannelAddress, HasAppPort: app.Port > 0, Concurrency: app.MaxConcurrency,
		ActorStatus: body.ActorRuntime.RuntimeStatus}
	for _, c := range body.Components {
		info.Components = append(info.Components, described(c.Name, c.Type, c.Version, c.Capabilities))
	}
	for _, e := range body.HTTPEndpoints {
		info.HTTPEndpoints = append(info.HTTPEndpoints, e.Name)
	}
	for _, r := range body.Resiliencies {
		info.Resiliencies = append(info.Resiliencies, r.Name)
	}
	return meaning{Info: info}
}

func described(name, kind, version string, capabilities []string) string {
	sorted := slices.Sorted(slices.Values(capabilities))
	return name + " " + kind + "/" + version + " " + strings.Join(sorted, ",")
}

func (h *httpAPI) setMetadata(ctx context.Context, key, value string) meaning {
	return h.call(ctx, "PUT", "/v1.0/metadata/"+segment(key), value, nil).nothing()
}
