// Package v1alpha1 is the schema of Dapr's resources in a cluster, as Go types: the CRDs of the chart are made of it, and
// their descriptions of its comments (go run ./pkg/operator/api/gen). It holds no logic; the sidecar reads resources with
// pkg/config, which takes more than a schema may refuse.
//
// +groupName=dapr.io
// +versionName=v1alpha1
package v1alpha1
