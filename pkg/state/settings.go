package state

import (
	"fmt"
	"strings"

	"github.com/daprd/daprd/pkg/config"
)

// The properties of a component that are meant for the block. Their names match in any case.
const (
	propertyKeyPrefix       = "keyPrefix"
	propertyActorStateStore = "actorStateStore"
	propertyPrimaryKey      = "primaryEncryptionKey"
	propertySecondaryKey    = "secondaryEncryptionKey"

	propertyOutboxPublishPubSub = "outboxPublishPubsub"
	propertyOutboxPublishTopic  = "outboxPublishTopic"
	propertyOutboxPubSub        = "outboxPubsub"
	propertyOutboxDiscard       = "outboxDiscardWhenMissingState"
)

// PropertyNames are the properties of a component that ParseSettings reads, for whoever warns of properties
// that nobody reads.
func PropertyNames() []string {
	return []string{propertyKeyPrefix, propertyActorStateStore, propertyPrimaryKey, propertySecondaryKey, propertyOutboxPublishPubSub,
		propertyOutboxPublishTopic, propertyOutboxPubSub, propertyOutboxDiscard}
}

// Settings are what a component's manifest says to the block rather than to the store.
type Settings struct {
	// KeyPrefix is the strategy for key prefixes, lower-cased: "" or "appid", "name", "none", "namespace";
	// any other text is the prefix itself.
	KeyPrefix string
	// ActorStateStore marks the store that holds the state of actors.
	ActorStateStore bool
	// Outbox is nil for a store whose transactions are not published.
	Outbox *OutboxSettings

	keys *keyring
}

// Encrypted says whether values are encrypted before the store sees them.
func (s Settings) Encrypted() bool { return s.keys != nil }

// ParseSettings reads the settings of a component: its properties with secrets resolved, and for those that
// come from secrets the name of the secret (secretKeyRef.name), which stands in each encrypted value. The
// error names the property and never its value.
func ParseSettings(properties, secretNames map[string]string) (Settings, error) {
	keyPrefix, _ := property(properties, propertyKeyPrefix)
	keyPrefix = strings.ToLower(keyPrefix)
	if strings.Contains(keyPrefix, separator) {
		return Settings{}, fmt.Errorf("input key/keyPrefix '%s' can't contain '%s'", keyPrefix, separator)
	}
	keys, err := parseKeyring(properties, secretNames)
	if err != nil {
		return Settings{}, err
	}
	outbox, err := parseOutbox(properties)
	if err != nil {
		return Settings{}, err
	}
	actors, _ := property(properties, propertyActorStateStore)
	return Settings{KeyPrefix: keyPrefix, ActorStateStore: config.Truthy(actors), Outbox: outbox, keys: keys}, nil
}

func property(properties map[string]string, name string) (string, bool) {
	if value, ok := properties[name]; ok {
		return value, true
	}
	for candidate, value := range properties {
		if strings.EqualFold(candidate, name) {
			return value, true
		}
	}
	return "", false
}
