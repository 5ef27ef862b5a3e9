package injector

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Mesh is what all sidecars of an installation have in common: what its chart says.
type Mesh struct {
	// Namespace and TrustDomain are those of the control plane, ClusterDomain is that of its services.
	Namespace, TrustDomain, ClusterDomain string
	// SchedulerEnabled has sidecars look for a scheduler.
	SchedulerEnabled bool
	// ActorsEnabled has sidecars look for the service of actors: ActorsService and ActorsAddress name it, "" for placement.
	ActorsEnabled                bool
	ActorsService, ActorsAddress string
	// RemindersService and RemindersAddress name the service of reminders, "" for none.
	RemindersService, RemindersAddress string

	// Image is that of the sidecar; PullPolicy is one of Always, IfNotPresent, Never.
	Image, PullPolicy string
	// Native has sidecars be native ones, unless the pod says otherwise.
	Native bool
	// RunAsNonRoot and its neighbours are the security context. User and Group are nil for those of the image.
	RunAsNonRoot, ReadOnlyRootFilesystem, DropAllCapabilities bool
	User, Group                                               *int64
	// DownwardAPI gives sidecars the pod's address as DAPR_HOST_IP.
	DownwardAPI bool
	// EntrypointTolerations mark pods on virtual nodes, which run the image by its entry point alone: there the command is
	// spelled out.
	EntrypointTolerations []corev1.Toleration
}

// DefaultEntrypointTolerations are the virtual nodes of the large clouds.
const DefaultEntrypointTolerations = `[{"effect":"NoSchedule","key":"alibabacloud.com/eci"},{"effect":"NoSchedule","key":"azure.com/aci"},` +
	`{"effect":"NoSchedule","key":"aws"},{"effect":"NoSchedule","key":"huawei.com/cci"}]`

// ParseTolerations reads a list as JSON.
func ParseTolerations(text string) (list []corev1.Toleration, err error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf(`want a list of tolerations, [{"effect":"NoSchedule","key":"aws"}] for one: %w`, err)
	}
	return list, nil
}

// validate names the variables of the environment from which the fields come.
func (m *Mesh) validate() error {
	switch {
	case m.Namespace == "":
		return fmt.Errorf("environment variable NAMESPACE is needed: the namespace of the control plane")
	case m.Image == "":
		return fmt.Errorf("environment variable SIDECAR_IMAGE is needed: the image of sidecars")
	case !slices.Contains([]string{"Always", "IfNotPresent", "Never"}, m.PullPolicy):
		return fmt.Errorf("environment variable SIDECAR_IMAGE_PULL_POLICY: %q is not allowed; it takes Always, IfNotPresent, Never", m.PullPolicy)
	case !isHost(m.ClusterDomain):
		return fmt.Errorf("environment variable KUBE_CLUSTER_DOMAIN: %q is no domain", m.ClusterDomain)
	case (m.RemindersService == "") != (m.RemindersAddress == ""):
		return fmt.Errorf("environment variables REMINDERS_SERVICE_NAME and REMINDERS_SERVICE_ADDRESS are needed together")
	case m.ActorsService != "" && m.ActorsService != placement && m.ActorsAddress == "":
		return fmt.Errorf("environment variable ACTORS_SERVICE_ADDRESS is needed beside ACTORS_SERVICE_NAME")
	}
	return nil
}

// placement is the name of the service of actors that every installation has.
const placement = "placement"

// service is the address of a service of the control plane.
func (m *Mesh) service(name string, port int) string {
	return net.JoinHostPort(fmt.Sprintf("%s.%s.svc.%s", name, m.Namespace, m.ClusterDomain), strconv.Itoa(port))
}

// sentryID is the SPIFFE id for which the pods' tokens are.
func (m *Mesh) sentryID() string {
	return fmt.Sprintf("spiffe://%s/ns/%s/dapr-sentry", m.TrustDomain, m.Namespace)
}
