// Package v2alpha1 is the second version of Subscription; see v1alpha1 for what these packages are.
//
// +groupName=dapr.io
// +versionName=v2alpha1
package v2alpha1
