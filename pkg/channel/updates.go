package channel

import "context"

// Updated is the application as a receiver of changes of configuration items.
type Updated interface {
	// ConfigurationUpdate brings the change of items of a configuration store, one call for each key. An
	// application that speaks gRPC gets none this way: it reads its own stream.
	ConfigurationUpdate(ctx context.Context, update *ConfigurationUpdate) error
}

// ConfigurationUpdate is a change of configuration items.
type ConfigurationUpdate struct {
	// Subscription is its id, Store the component's name.
	Subscription, Store string
	Items               map[string]ConfigurationItem
}

// ConfigurationItem is one value; a deleted one has neither value nor version.
type ConfigurationItem struct {
	Value, Version string
	Metadata       map[string]string
}

func (a *http1) ConfigurationUpdate(context.Context, *ConfigurationUpdate) error   { return errNotYet }
func (a *h2c) ConfigurationUpdate(context.Context, *ConfigurationUpdate) error     { return errNotYet }
func (a *grpcApp) ConfigurationUpdate(context.Context, *ConfigurationUpdate) error { return errNotYet }
