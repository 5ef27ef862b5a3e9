package grpc

import "strings"

// configurationGroups are the methods of configuration.
func configurationGroups() []group {
	words := strings.Fields
	return []group{
		{key: "configuration.v1", missing: "configuration",
			methods: words("GetConfiguration SubscribeConfiguration UnsubscribeConfiguration")},
		{key: "configuration.v1alpha1", missing: "configuration",
			methods: words("GetConfigurationAlpha1 SubscribeConfigurationAlpha1 UnsubscribeConfigurationAlpha1")},
	}
}
