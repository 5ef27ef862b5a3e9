package channel

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	configurationTimeout = 5 * time.Second
	maxConfiguration     = 1 << 20
)

// configuration asks an HTTP application for /dapr/config. Any status but 200 means that it has none.
func configuration(ctx context.Context, app App, appID string) (*AppConfiguration, error) {
	ctx, cancel := context.WithTimeout(ctx, configurationTimeout)
	defer cancel()
	res, err := app.Invoke(ctx, &Request{
		Verb:        http.MethodGet,
		Method:      "dapr/config",
		Header:      Header{{Name: "Dapr-App-Id", Value: appID}},
		ContentType: jsonType,
	})
	if err != nil {
		return nil, fmt.Errorf("ask the app for its configuration: %w", err)
	}
	defer res.Close()
	config := &AppConfiguration{}
	if res.Status != http.StatusOK {
		return config, nil
	}
	if err := json.NewDecoder(io.LimitReader(res.Body.Reader(), maxConfiguration)).Decode(config); err != nil {
		return nil, fmt.Errorf("read the app's configuration (GET /dapr/config): %w", err)
	}
	return config, nil
}
