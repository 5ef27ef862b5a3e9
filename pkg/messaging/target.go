package messaging

import (
	"errors"
	"fmt"
	"strings"

	"github.com/daprd/daprd/pkg/nameresolution"
)

var errNoAppID = errors.New("app id is empty")

// parseID reads "app" or "app.namespace"; the first is in the caller's own namespace. The errors are the
// texts of Dapr.
func parseID(id, ownNamespace string) (appID, namespace string, err error) {
	appID, namespace, found := strings.Cut(id, ".")
	switch {
	case id == "":
		return "", "", errNoAppID
	case !found:
		return id, ownNamespace, nil
	case appID == "" || namespace == "" || strings.Contains(namespace, "."):
		return "", "", fmt.Errorf("invalid app id %s", id)
	}
	return appID, namespace, nil
}

// Target is an application that runs behind a sidecar.
type Target struct {
	nameresolution.Target
	// Local says that it is the one beside this sidecar.
	Local bool
}

// Target reads the id of an application: "app" or "app.namespace". It does not look the application up.
func (d *Direct) Target(id string) (Target, error) {
	appID, namespace, err := parseID(id, d.self.Namespace)
	if err != nil {
		return Target{}, err
	}
	return Target{
		Target: nameresolution.Target{AppID: appID, Namespace: namespace, Port: d.self.InternalPort},
		Local:  appID == d.self.AppID && namespace == d.self.Namespace,
	}, nil
}
