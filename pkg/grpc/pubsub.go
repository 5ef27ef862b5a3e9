package grpc

import "strings"

// pubsubGroups are the methods of publish and subscribe.
func pubsubGroups() []group {
	words := strings.Fields
	return []group{
		{key: "publish.v1", missing: "publish", methods: words("PublishEvent")},
		{key: "publish.v1", missing: "bulk publish", methods: words("BulkPublishEvent")},
		{key: "publish.v1alpha1", missing: "bulk publish", methods: words("BulkPublishEventAlpha1")},
		{key: "subscribe.v1alpha1", missing: "streaming subscription", methods: words("SubscribeTopicEventsAlpha1")},
	}
}
