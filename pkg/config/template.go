package config

import (
	"errors"
	"strings"

	"github.com/google/uuid"
)

// Templates fill the placeholders of metadata values.
type Templates struct {
	AppID, Namespace, PodName string
}

// Fill replaces {uuid} (each one anew), {appID}, {namespace} (as <namespace>.<app id>, where the namespace
// is "default" if there is none) and {podName}. The latter without a pod is an error. Other braces stay.
func (t Templates) Fill(value string) (string, error) {
	if !strings.Contains(value, "{") {
		return value, nil
	}
	if strings.Contains(value, "{podName}") && t.PodName == "" {
		return "", errors.New("{podName} stands in a value, but the environment variable POD_NAME is not set")
	}
	var filled strings.Builder
	for i, part := range strings.Split(value, "{uuid}") {
		if i > 0 {
			filled.WriteString(uuid.NewString())
		}
		filled.WriteString(part)
	}
	namespace := t.Namespace
	if namespace == "" {
		namespace = "default"
	}
	return strings.NewReplacer("{podName}", t.PodName, "{appID}", t.AppID, "{namespace}", namespace+"."+t.AppID).Replace(filled.String()), nil
}
