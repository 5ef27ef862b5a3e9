package grpc

import "strings"

// bindingsGroups are the methods of bindings.
func bindingsGroups() []group {
	words := strings.Fields
	return []group{
		{key: "bindings.v1", missing: "bindings", methods: words("InvokeBinding")},
	}
}
