package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Templates fill the placeholders of metadata values.
type Templates struct {
	AppID, Namespace, PodName string
}

// Fill replaces {uuid} (each one anew), {appID}, {namespace} (as <namespace>.<app id>) and {podName}. The
// latter without a pod is an error.
func (t Templates) Fill(value string) (string, error) {
	if !strings.Contains(value, "{") {
		return value, nil
	}
	for strings.Contains(value, "{uuid}") {
		value = strings.Replace(value, "{uuid}", uuid.NewString(), 1)
	}
	if strings.Contains(value, "{podName}") && t.PodName == "" {
		return "", errors.New("{podName} stands in a value, but the environment variable POD_NAME is not set")
	}
	namespace := t.Namespace
	if namespace == "" {
		namespace = "default"
	}
	return strings.NewReplacer("{podName}", t.PodName, "{appID}", t.AppID, "{namespace}", namespace+"."+t.AppID).Replace(value), nil
}

// Environment gives the value of a variable that an envRef names. Variables of the sidecar itself are
// refused, and those that DAPR_ENV_KEYS, where it is set, does not list.
func Environment(name string) (string, error) {
	upper := strings.ToUpper(name)
	allowed := strings.Fields(os.Getenv("DAPR_ENV_KEYS"))
	switch {
	case name == "", strings.Contains(name, " "), upper == "APP_API_TOKEN", strings.HasPrefix(upper, "DAPR_"),
		len(allowed) > 0 && !slices.Contains(allowed, name):
		return "", fmt.Errorf("the environment variable %q is not allowed in an envRef", name)
	}
	return os.Getenv(name), nil
}
