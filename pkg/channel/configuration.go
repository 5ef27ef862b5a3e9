package channel

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

const (
	configurationTimeout = 5 * time.Second
	maxConfiguration     = 1 << 20
)

// AppConfiguration is what the application says of itself: at GET /dapr/config, or with the stream that it opens for its
// actors.
type AppConfiguration struct {
	// Entities are the actor types that the application hosts.
	Entities []string
	// ActorSettings hold for the types that PerEntity does not name.
	ActorSettings
	PerEntity []EntitySettings
	// ReminderPartitions is 0 where it is not set.
	ReminderPartitions int
	// Warnings tell of settings that cannot be read; they count as not set.
	Warnings []string
}

// EntitySettings hold for some types alone, all of them: what they do not say is the default.
type EntitySettings struct {
	Entities []string
	ActorSettings
}

// ActorSettings are those of actor types; what is nil was not said.
type ActorSettings struct {
	IdleTimeout, DrainTimeout *time.Duration
	DrainRebalanced           *bool
	Reentrant                 bool
	MaxStackDepth             *int
}

// The body of GET /dapr/config.
type (
	settingsBody struct {
		IdleTimeout     string `json:"actorIdleTimeout"`
		DrainTimeout    string `json:"drainOngoingCallTimeout"`
		DrainRebalanced *bool  `json:"drainRebalancedActors"`
		Reentrancy      struct {
			Enabled       bool `json:"enabled"`
			MaxStackDepth *int `json:"maxStackDepth"`
		} `json:"reentrancy"`
		ReminderPartitions int `json:"remindersStoragePartitions"`
	}
	entityBody struct {
		Entities []string `json:"entities"`
		settingsBody
	}
	configurationBody struct {
		entityBody
		PerEntity []entityBody `json:"entitiesConfig"`
	}
)

// configuration is the body in the words of this package.
func (b *configurationBody) configuration() *AppConfiguration {
	c := &AppConfiguration{Entities: b.Entities, ReminderPartitions: b.ReminderPartitions}
	c.ActorSettings = c.settings(&b.settingsBody)
	for i := range b.PerEntity {
		e := &b.PerEntity[i]
		c.PerEntity = append(c.PerEntity, EntitySettings{e.Entities, c.settings(&e.settingsBody)})
		for _, name := range e.Entities {
			if !slices.Contains(c.Entities, name) {
				c.Warnings = append(c.Warnings, fmt.Sprintf("the application's configuration has settings for the actor type %s, "+
					"which is not among its entities: they have no effect", name))
			}
		}
	}
	return c
}

func (c *AppConfiguration) settings(b *settingsBody) ActorSettings {
	return ActorSettings{IdleTimeout: c.lapse("actorIdleTimeout", b.IdleTimeout), DrainTimeout: c.lapse("drainOngoingCallTimeout", b.DrainTimeout),
		DrainRebalanced: b.DrainRebalanced, Reentrant: b.Reentrancy.Enabled, MaxStackDepth: b.Reentrancy.MaxStackDepth}
}

// lapse reads a Go duration, nil for none and for one that is none.
func (c *AppConfiguration) lapse(name, text string) *time.Duration {
	if text == "" {
		return nil
	}
	length, err := time.ParseDuration(text)
	if err != nil {
		c.Warnings = append(c.Warnings, fmt.Sprintf("the application's configuration has %s %q, which is no duration like 30s or 1h: "+
			"the default holds", name, text))
		return nil
	}
	return &length
}

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
	if res.Status != http.StatusOK {
		return &AppConfiguration{}, nil
	}
	var body configurationBody
	if err := json.NewDecoder(io.LimitReader(res.Body.Reader(), maxConfiguration)).Decode(&body); err != nil {
		return nil, fmt.Errorf("read the app's configuration (GET /dapr/config): %w", err)
	}
	return body.configuration(), nil
}
