package pubsub

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The properties of a component that are meant for the block. Their names match in any case.
const (
	propertyAllowedTopics      = "allowedTopics"
	propertyProtectedTopics    = "protectedTopics"
	propertyPublishingScopes   = "publishingScopes"
	propertySubscriptionScopes = "subscriptionScopes"
	propertyMaxAttempts        = "maxDeliveryAttempts"
	propertyMaxInFlight        = "maxInFlight"
)

// PropertyNames are the properties that the block itself reads.
func PropertyNames() []string {
	return []string{propertyAllowedTopics, propertyProtectedTopics, propertyPublishingScopes, propertySubscriptionScopes, propertyMaxAttempts,
		propertyMaxInFlight}
}

// Settings are what the block itself reads of a component's properties.
type Settings struct {
	// allowed are the topics that exist for anybody, empty for all; protected ones need an entry in the scopes.
	allowed, protected []string
	// publishing and subscribing list the topics of the apps that have an entry.
	publishing, subscribing map[string][]string
	// MaxAttempts is how often a message may fail before it is given up, 0 for no end (docs/delivery.md).
	MaxAttempts int
	// MaxInFlight is how many calls of the application each subscription makes at once, 0 for as many as the broker
	// brings.
	MaxInFlight int
	// TopicPrefix stands before every topic on the broker: the namespace, where the manifest uses {namespace}.
	TopicPrefix string
}

// ParseSettings reads them. Errors name the property.
func ParseSettings(properties map[string]string) (Settings, error) {
	var s Settings
	for name, value := range properties {
		switch {
		case strings.EqualFold(name, propertyAllowedTopics):
			s.allowed = topics(value)
		case strings.EqualFold(name, propertyProtectedTopics):
			s.protected = topics(value)
		case strings.EqualFold(name, propertyPublishingScopes):
			s.publishing = scopes(value)
		case strings.EqualFold(name, propertySubscriptionScopes):
			s.subscribing = scopes(value)
		default:
			if err := s.readBound(name, value); err != nil {
				return s, fmt.Errorf("metadata property %w", err)
			}
		}
	}
	return s, nil
}

// readBound reads the properties that a subscription may have in its own metadata, too. Errors begin with the name.
func (s *Settings) readBound(name, value string) (err error) {
	for property, bound := range map[string]*int{propertyMaxAttempts: &s.MaxAttempts, propertyMaxInFlight: &s.MaxInFlight} {
		if !strings.EqualFold(name, property) {
			continue
		}
		if *bound, err = parseBound(value); err != nil {
			return fmt.Errorf("%s: %w", property, err)
		}
	}
	return nil
}

// bounds are those of a subscription: its own, else its component's.
func (s Settings) bounds(metadata map[string]string) (Settings, error) {
	for name, value := range metadata {
		if err := s.readBound(name, value); err != nil {
			return s, fmt.Errorf("metadata %w", err)
		}
	}
	return s, nil
}

func parseBound(text string) (int, error) {
	if text = strings.TrimSpace(text); text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not usable: want a whole number, 0 for no bound", text)
	}
	return n, nil
}

// topics reads "a, b". An empty text names none.
func topics(text string) []string {
	text = strings.ReplaceAll(text, " ", "")
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// scopes reads "app1=a,b;app2=c;app3=". An app with nothing behind its name may use no topic.
func scopes(text string) map[string][]string {
	list := map[string][]string{}
	for entry := range strings.SplitSeq(strings.ReplaceAll(text, " ", ""), ";") {
		if app, names, ok := strings.Cut(entry, "="); ok {
			list[app] = strings.Split(names, ",")
		}
	}
	return list
}

// mayPublish says whether the app may publish to a topic.
func (s *Settings) mayPublish(app, topic string) bool { return s.permits(s.publishing[app], topic) }

// maySubscribe says whether the app may subscribe to a topic.
func (s *Settings) maySubscribe(app, topic string) bool { return s.permits(s.subscribing[app], topic) }

// permits holds a topic against the lists; scope is the app's own, empty where it has none.
func (s *Settings) permits(scope []string, topic string) bool {
	switch {
	case len(s.allowed) > 0 && !slices.Contains(s.allowed, topic):
		return false
	case len(scope) > 0:
		return slices.Contains(scope, topic)
	}
	return !slices.Contains(s.protected, topic)
}
