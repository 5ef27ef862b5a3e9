package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/injector"
)

// resolvConf is where the kubelet writes the cluster's domain for a pod.
const resolvConf = "/etc/resolv.conf"

// environment reads the variables that Dapr's chart sets. The error names all whose values cannot be used.
func (f *flags) environment(getenv func(string) string, resolvConf string) error {
	c, m := &f.cfg, &f.cfg.Mesh
	m.Namespace, m.Image = getenv("NAMESPACE"), getenv("SIDECAR_IMAGE")
	m.PullPolicy = cmp.Or(getenv("SIDECAR_IMAGE_PULL_POLICY"), injector.DefaultPullPolicy)
	m.TrustDomain = cmp.Or(getenv("DAPR_CONTROL_PLANE_TRUST_DOMAIN"), injector.DefaultTrustDomain)
	m.ClusterDomain = cmp.Or(getenv("KUBE_CLUSTER_DOMAIN"), domainIn(resolvConf), injector.DefaultClusterDomain)
	m.ActorsService, m.ActorsAddress = getenv("ACTORS_SERVICE_NAME"), getenv("ACTORS_SERVICE_ADDRESS")
	m.RemindersService, m.RemindersAddress = getenv("REMINDERS_SERVICE_NAME"), getenv("REMINDERS_SERVICE_ADDRESS")
	c.SentryAddress, c.TokenFile = getenv("DAPR_SENTRY_ADDRESS"), getenv("DAPR_SENTRY_TOKEN_FILE")
	c.AnchorsFile = cmp.Or(getenv("DAPR_TRUST_ANCHORS_FILE"), injector.DefaultAnchorsFile)
	c.AllowedAccounts, c.AllowedAccountPrefixes = getenv("ALLOWED_SERVICE_ACCOUNTS"), getenv("ALLOWED_SERVICE_ACCOUNTS_PREFIX_NAMES")
	for _, b := range []struct {
		name     string
		into     *bool
		standard bool
	}{
		{"ACTORS_ENABLED", &m.ActorsEnabled, true},
		{"SIDECAR_RUN_AS_NON_ROOT", &m.RunAsNonRoot, true},
		{"SIDECAR_READ_ONLY_ROOT_FILESYSTEM", &m.ReadOnlyRootFilesystem, true},
		{"SIDECAR_DROP_ALL_CAPABILITIES", &m.DropAllCapabilities, false},
		{"ENABLE_K8S_DOWNWARD_APIS", &m.DownwardAPI, false},
		{"NATIVE_SIDECAR_ENABLED", &m.Native, false},
	} {
		if *b.into = b.standard; getenv(b.name) != "" {
			*b.into = config.Truthy(getenv(b.name))
		}
	}
	var errs []error
	for name, into := range map[string]**int64{"SIDECAR_RUN_AS_USER": &m.User, "SIDECAR_RUN_AS_GROUP": &m.Group} {
		if text := getenv(name); text != "" {
			id, err := strconv.ParseInt(text, 10, 64)
			if err != nil || id < 0 {
				errs = append(errs, fmt.Errorf("environment variable %s: %q is not allowed; it takes a number of a user or group", name, text))
			}
			*into = &id
		}
	}
	var err error
	if m.EntrypointTolerations, err = injector.ParseTolerations(cmp.Or(getenv("IGNORE_ENTRYPOINT_TOLERATIONS"), injector.DefaultEntrypointTolerations)); err != nil {
		errs = append(errs, fmt.Errorf("environment variable IGNORE_ENTRYPOINT_TOLERATIONS: %w", err))
	}
	return errors.Join(errs...)
}

// domainIn is the cluster's domain, "" where the file tells of none.
func domainIn(resolvConf string) string {
	file, err := os.Open(resolvConf)
	if err != nil {
		return ""
	}
	defer file.Close()
	return injector.ClusterDomainOf(file)
}
