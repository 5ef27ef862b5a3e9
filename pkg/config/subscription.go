package config

import (
	"cmp"
	"fmt"

	"gopkg.in/yaml.v3"
)

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

// Subscription is a resource of kind Subscription, of either version.
type Subscription struct {
	Meta Meta
	TopicSubscription
	// Scopes are the app ids that it is for; empty for all.
	Scopes []string
	Origin Origin
}

// String is its name.
func (s *Subscription) String() string { return s.Meta.Name }

// subscriptionText is a Subscription as it is written: v1alpha1 has a route, v2alpha1 routes.
type subscriptionText struct {
	Meta   Meta     `yaml:"metadata"`
	Scopes []string `yaml:"scopes"`
	Spec   struct {
		PubSub   string           `yaml:"pubsubname"`
		Topic    string           `yaml:"topic"`
		Metadata map[string]Value `yaml:"metadata"`
		Route    string           `yaml:"route"`
		Routes   struct {
			Rules []struct {
				Match string `yaml:"match"`
				Path  string `yaml:"path"`
			} `yaml:"rules"`
			Default string `yaml:"default"`
		} `yaml:"routes"`
		DeadLetterTopic string `yaml:"deadLetterTopic"`
		Bulk            struct {
			Enabled     bool `yaml:"enabled"`
			MaxMessages int  `yaml:"maxMessagesCount"`
			MaxAwait    int  `yaml:"maxAwaitDurationMs"`
		} `yaml:"bulkSubscribe"`
	} `yaml:"spec"`
}

// keepSubscription reads either version: the fields of both are understood whatever the version says.
func keepSubscription(r *Resources, d document, root *yaml.Node) error {
	var text subscriptionText
	if err := d.into(root, &text); err != nil {
		return err
	}
	for name, value := range map[string]string{"spec.pubsubname": text.Spec.PubSub, "spec.topic": text.Spec.Topic} {
		if value == "" {
			return fmt.Errorf("%s is missing: a subscription names a pub/sub component and a topic", name)
		}
	}
	r.Subscriptions = append(r.Subscriptions, text.subscription(d.origin))
	return nil
}

func (t *subscriptionText) subscription(origin Origin) Subscription {
	s := Subscription{Meta: t.Meta, Scopes: t.Scopes, Origin: origin, TopicSubscription: TopicSubscription{
		PubSub: t.Spec.PubSub, Topic: t.Spec.Topic, DeadLetterTopic: t.Spec.DeadLetterTopic,
		Bulk: BulkSubscribe{Enabled: t.Spec.Bulk.Enabled, MaxMessages: t.Spec.Bulk.MaxMessages, MaxAwaitMilliseconds: t.Spec.Bulk.MaxAwait}}}
	for name, value := range t.Spec.Metadata {
		if s.Metadata == nil {
			s.Metadata = map[string]string{}
		}
		s.Metadata[name] = string(value)
	}
	for _, rule := range t.Spec.Routes.Rules {
		s.Rules = append(s.Rules, TopicRule{Match: rule.Match, Path: rule.Path})
	}
	if path := cmp.Or(t.Spec.Routes.Default, t.Spec.Route); path != "" {
		s.Rules = append(s.Rules, TopicRule{Path: path})
	}
	return s
}
