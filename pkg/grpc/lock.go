package grpc

import "strings"

// lockGroups are the methods of locks.
func lockGroups() []group {
	words := strings.Fields
	return []group{
		{key: "lock.v1alpha1", missing: "lock", methods: words("TryLockAlpha1")},
		{key: "unlock.v1alpha1", missing: "lock", methods: words("UnlockAlpha1")},
	}
}
