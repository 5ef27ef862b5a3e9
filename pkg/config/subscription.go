package config

// TopicSubscription is one topic that an application wants: what a Subscription resource, the application's own
// list and a streaming subscription have in common.
type TopicSubscription struct {
	// PubSub is the name of the component.
	PubSub string
	// Topic is as the component understands it: some take wildcards.
	Topic string
	// Metadata is for the component and the sidecar: rawPayload for one.
	Metadata map[string]string
	// Rules are tried in order; the first that matches gives the path. None is an error of whoever wrote it.
	Rules []TopicRule
	// DeadLetterTopic takes what the application does not want or cannot handle, "" for none.
	DeadLetterTopic string
	// Bulk asks for several messages in one call.
	Bulk BulkSubscribe
}

// TopicRule leads matching events to a path of the application.
type TopicRule struct {
	// Match is a CEL expression over "event"; an empty one always matches.
	Match string
	Path  string
}

// BulkSubscribe bounds how many messages one call may bring, and how long the first of them waits for more.
type BulkSubscribe struct {
	Enabled bool
	// MaxMessages is the most messages of a call; 0 means the default of 100.
	MaxMessages int
	// MaxAwaitMilliseconds is how long the first message waits for more; 0 means the default of 1000.
	MaxAwaitMilliseconds int
}
