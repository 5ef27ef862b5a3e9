package channel

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/daprd/daprd/pkg/jsontext"
)

// Updated is the application as a receiver of changes of configuration items.
type Updated interface {
	// ConfigurationUpdate brings the change of items of a configuration store, one call for each key. An
	// application that speaks gRPC gets none this way: it reads its own stream.
	ConfigurationUpdate(ctx context.Context, update *ConfigurationUpdate) error
}

// ConfigurationUpdate is a change of configuration items.
type ConfigurationUpdate struct {
	// Subscription is its id, Store the component's name, Key the item that the call is about.
	Subscription, Store, Key string
	Items                    map[string]ConfigurationItem
}

// ConfigurationItem is one value; a deleted one has neither value nor version.
type ConfigurationItem struct {
	Value, Version string
	Metadata       map[string]string
}

// ConfigurationUpdate posts the change.
func (a *http1) ConfigurationUpdate(ctx context.Context, update *ConfigurationUpdate) error {
	return configurationUpdate(ctx, a, update)
}

// ConfigurationUpdate posts the change.
func (a *h2c) ConfigurationUpdate(ctx context.Context, update *ConfigurationUpdate) error {
	return configurationUpdate(ctx, a, update)
}

// ConfigurationUpdate does nothing: such an application reads its own stream.
func (a *grpcApp) ConfigurationUpdate(context.Context, *ConfigurationUpdate) error { return nil }

// configurationUpdate posts to /configuration/{store}/{key}. The key is data of a store that others may write to: one
// with dot segments or doubled slashes would name another path of the application, and is refused.
func configurationUpdate(ctx context.Context, app invoker, update *ConfigurationUpdate) error {
	path := "configuration/" + update.Store + "/" + update.Key
	method, err := CanonicalMethod(path)
	if err != nil {
		return fmt.Errorf("the key %q stands in no path: %w", update.Key, err)
	}
	if method != path {
		return fmt.Errorf("the key %q stands in no path: it would lead to /%s", update.Key, method)
	}
	res, err := app.Invoke(ctx, &Request{Verb: http.MethodPost, Method: method, ContentType: jsonType, Body: Body{Bytes: update.appendJSON(nil)}})
	if err != nil {
		return err
	}
	defer res.Close()
	if res.Status < 200 || res.Status > 299 {
		return fmt.Errorf("the application answers status %d", res.Status)
	}
	return nil
}

func (u *ConfigurationUpdate) appendJSON(b []byte) []byte {
	b = jsontext.AppendString(append(b, `{"id":`...), u.Subscription)
	b = append(b, `,"items":`...)
	return append(AppendItems(b, u.Items), '}')
}

// AppendItems writes items as an object of JSON by key, in the form of Dapr's APIs: what is empty is left out.
func AppendItems(b []byte, items map[string]ConfigurationItem) []byte {
	b = append(b, '{')
	first := true
	for _, key := range slices.Sorted(maps.Keys(items)) {
		if !first {
			b = append(b, ',')
		}
		first = false
		item := items[key]
		b = append(jsontext.AppendString(b, key), ":{"...)
		start := len(b)
		b = appendPart(b, start, "value", item.Value)
		b = appendPart(b, start, "version", item.Version)
		if len(item.Metadata) > 0 {
			if len(b) > start {
				b = append(b, ',')
			}
			b = jsontext.AppendMap(append(b, `"metadata":`...), item.Metadata)
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

func appendPart(b []byte, start int, name, value string) []byte {
	if value == "" {
		return b
	}
	if len(b) > start {
		b = append(b, ',')
	}
	b = append(jsontext.AppendString(b, name), ':')
	return jsontext.AppendString(b, value)
}
