package injector

import (
	"fmt"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// callers are those whose pods get sidecars: the controllers that make pods of workloads, administrators, and whom the
// installation names. The API server says who calls; names below system: are nobody else's, so no account is looked up.
type callers struct{ names, prefixes []string }

// controllers are accounts that make pods (Dapr 1.18).
func controllers() []string {
	return []string{
		"kube-system:replicaset-controller", "kube-system:replication-controller", "kube-system:deployment-controller", "kube-system:cronjob-controller",
		"kube-system:job-controller", "kube-system:statefulset-controller", "kube-system:daemon-set-controller",
		"tekton-pipelines:tekton-pipelines-controller", "openshift-operator-lifecycle-manager:olm-operator-serviceaccount", "mirrord:mirrord-operator",
	}
}

// controllerManager is who makes the pods where the controllers have no accounts of their own.
const controllerManager = "system:kube-controller-manager"

// newCallers reads the two lists of the environment: namespace:name between commas, in the second one with * at the end of
// either part.
func newCallers(accounts, prefixes string) (*callers, error) {
	c := &callers{names: controllers()}
	for _, list := range []struct {
		variable, text string
		wildcards      bool
		into           *[]string
	}{
		{"ALLOWED_SERVICE_ACCOUNTS", accounts, false, &c.names},
		{"ALLOWED_SERVICE_ACCOUNTS_PREFIX_NAMES", prefixes, true, &c.prefixes},
	} {
		for part := range strings.SplitSeq(list.text, ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			if !isAccount(part, list.wildcards) {
				allowed := "namespace:name"
				if list.wildcards {
					allowed += ", with * at the end of either part"
				}
				return nil, fmt.Errorf("environment variable %s: %q is not allowed; it takes %s", list.variable, part, allowed)
			}
			*list.into = append(*list.into, part)
		}
	}
	return c, nil
}

func isAccount(text string, wildcards bool) bool {
	namespace, name, found := strings.Cut(text, ":")
	for _, part := range []string{namespace, name} {
		if rest, wild := strings.CutSuffix(part, "*"); wild && wildcards {
			if part = strings.TrimRight(rest, "-."); part == "" {
				continue
			}
		}
		if len(validation.IsDNS1123Subdomain(part)) > 0 {
			return false
		}
	}
	return found
}

// allow says whether a pod of this user gets a sidecar.
func (c *callers) allow(user *authenticationv1.UserInfo) bool {
	if slices.Contains(user.Groups, "system:masters") || user.Username == controllerManager {
		return true
	}
	account, isOne := strings.CutPrefix(user.Username, "system:serviceaccount:")
	if !isOne {
		return false
	}
	return slices.Contains(c.names, account) || slices.ContainsFunc(c.prefixes, func(pattern string) bool { return matches(pattern, account) })
}

func matches(pattern, account string) bool {
	patternNamespace, patternName, _ := strings.Cut(pattern, ":")
	namespace, name, _ := strings.Cut(account, ":")
	return matchesPart(patternNamespace, namespace) && matchesPart(patternName, name)
}

func matchesPart(pattern, text string) bool {
	if start, wild := strings.CutSuffix(pattern, "*"); wild {
		return strings.HasPrefix(text, start)
	}
	return pattern == text
}
