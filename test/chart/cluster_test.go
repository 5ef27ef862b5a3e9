package chart

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/daprd/daprd/pkg/cluster"
	"github.com/daprd/daprd/test/kube"
)

// TestCluster has the real API server judge the chart.
func TestCluster(t *testing.T) {
	server := kube.Start(t)
	server.Definitions(t)
	server.Namespace(t, "dapr-system")
	server.Namespace(t, "shop")
	server.Apply(t, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: default}}")
	t.Run("objects", func(t *testing.T) { judged(t, server) })
	t.Run("pods", func(t *testing.T) { restricted(t, server) })
	t.Run("rights", func(t *testing.T) { allRights(t, server) })
}

// dryRun has the API server take the documents as if they were to stay.
func dryRun(t *testing.T, server *kube.Server, documents string, more ...string) error {
	t.Helper()
	out, err := server.Kubectl(t, documents, append([]string{"apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"}, more...)...)
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// judged: each object of each variant passes the checks of its kind.
func judged(t *testing.T, server *kube.Server) {
	for variant, with := range variants() {
		t.Run(variant, func(t *testing.T) {
			text, err := render(t, with)
			if err != nil {
				t.Fatal(err)
			}
			if err := dryRun(t, server, text); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("a mistake is found", func(t *testing.T) {
		text, err := render(t, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := dryRun(t, server, strings.Replace(text, "containerPort: 6500", "containrPort: 6500", 1)); err == nil || !strings.Contains(err.Error(), "containrPort") {
			t.Errorf("a field that is none: %v", err)
		}
		if err := dryRun(t, server, strings.Replace(text, "containerPort: 6500", "containerPort: 65000000", 1)); err == nil || !strings.Contains(err.Error(), "containerPort") {
			t.Errorf("a port that is none: %v", err)
		}
	})
}

// restricted: the pods of the control plane are taken where Pod Security takes restricted ones alone. hostNetwork is what
// that does not allow.
func restricted(t *testing.T, server *kube.Server) {
	server.Apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: strict, labels: {pod-security.kubernetes.io/enforce: restricted}}}")
	for variant, with := range variants() {
		text, err := render(t, with)
		if err != nil {
			t.Fatal(err)
		}
		pods := 0
		for document := range strings.SplitSeq(text, "\n---\n") {
			var workload struct {
				Spec struct {
					Template             map[string]any
					VolumeClaimTemplates []object `yaml:"volumeClaimTemplates"`
				}
			}
			if err := yaml.Unmarshal([]byte(document), &workload); err != nil {
				t.Fatal(err)
			}
			spec, ok := workload.Spec.Template["spec"].(map[string]any)
			if !ok {
				continue
			}
			pods++
			for _, claim := range workload.Spec.VolumeClaimTemplates { // as the StatefulSet's controller does
				volumes, _ := spec["volumes"].([]any)
				spec["volumes"] = append(volumes, map[string]any{"name": claim.Metadata.Name, "persistentVolumeClaim": map[string]any{"claimName": claim.Metadata.Name}})
			}
			host := spec["hostNetwork"] == true
			delete(spec, "priorityClassName") // of another namespace
			account := spec["serviceAccountName"].(string)
			pod, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": account, "namespace": "strict"}, "spec": spec})
			if err != nil {
				t.Fatal(err)
			}
			server.Apply(t, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: "+account+", namespace: strict}}")
			err = dryRun(t, server, string(pod))
			if !host && err != nil || host && (err == nil || !strings.Contains(err.Error(), "hostNetwork=true")) {
				t.Errorf("%s: %s: %v", variant, account, err)
			}
		}
		if pods < 3 {
			t.Errorf("%s: %d pods", variant, pods)
		}
	}
}

// grant is what an account may do: verbs, between spaces, on a resource, of one name or of any, in a namespace or without
// one everywhere.
type grant struct{ verbs, resource, name, namespace string }

const own = "dapr-system"

// What each part asks of the API server.
var (
	// pkg/injector: upkeep.go follows the Configuration and keeps caBundle; pluggable.go reads Components.
	ofInjector = []grant{
		{"get patch", "admissionregistration.k8s.io/mutatingwebhookconfigurations", "dapr-sidecar-injector", ""},
		{"get", "dapr.io/configurations", "daprsystem", own},
	}
	componentsOfInjector = grant{"list", "dapr.io/components", "", ""}
	// pkg/sentry: secret.go keeps the bundle; pods.go has tokens judged, and reads the pod and Configuration of who asks.
	ofSentry = []grant{
		{"get update", "secrets", "dapr-trust-bundle", own},
		{"get update", "configmaps", "dapr-trust-bundle", own},
		{"create", "authentication.k8s.io/tokenreviews", "", ""},
	}
	callersOfSentry = []grant{{"get", "pods", "", ""}, {"get", "dapr.io/configurations", "", ""}}
	// pkg/operator: operator.go reads the Configuration, leader.go keeps the lease, definition.go the CRD.
	ofOperator = []grant{
		{"get", "dapr.io/configurations", "daprsystem", own},
		{"create", "coordination.k8s.io/leases", "", own},
		{"get update", "coordination.k8s.io/leases", "operator.dapr.io", own},
		{"get patch", "apiextensions.k8s.io/customresourcedefinitions", "subscriptions.dapr.io", ""},
	}
	// watch.go sees the resources, secrets.go reads what these refer to, pods.go looks for an application's Configuration.
	seenByOperator = []grant{
		{"list watch", "dapr.io/components", "", ""}, {"list watch", "dapr.io/configurations", "", ""}, {"list watch", "dapr.io/subscriptions", "", ""},
		{"list watch", "dapr.io/resiliencies", "", ""}, {"list watch", "dapr.io/httpendpoints", "", ""},
		{"get", "secrets", "", ""},
		{"list", "pods", "", ""},
	}
	// services.go keeps the service of each workload, which owns it.
	servicesOfOperator = []grant{
		{"list watch", "apps/deployments", "", ""}, {"list watch", "apps/statefulsets", "", ""},
		{"update", "apps/deployments/finalizers", "", ""}, {"update", "apps/statefulsets/finalizers", "", ""},
		{"list watch create patch delete", "services", "", ""},
	}
	rolloutsOfOperator = []grant{{"list watch", "argoproj.io/rollouts", "", ""}, {"update", "argoproj.io/rollouts/finalizers", "", ""}}
	// watchdog.go deletes pods, and marks them.
	deletionByOperator, marksOfOperator = grant{"delete", "pods", "", ""}, grant{"patch", "pods", "", ""}
	// pkg/components/kubernetes: the secret store of the sidecars in one namespace.
	ofSecretStore = grant{"get list", "secrets", "", "default"}
)

// in has grants that hold everywhere hold in one namespace.
func in(namespace string, grants ...grant) (all []grant) {
	for _, g := range grants {
		g.namespace = namespace
		all = append(all, g)
	}
	return all
}

// allRights: each account may do what its part does, and nothing else.
func allRights(t *testing.T, server *kube.Server) {
	tests := map[string]struct {
		values                               string
		injector, sentry, operator, sidecars []grant
	}{
		"default": {``, append(slices.Clone(ofInjector), componentsOfInjector), slices.Concat(ofSentry, callersOfSentry),
			slices.Concat(ofOperator, seenByOperator, servicesOfOperator), []grant{ofSecretStore}},
		"watchdog": {`{dapr_operator: {watchInterval: once}, dapr_rbac: {secretReader: {enabled: false}}}`, append(slices.Clone(ofInjector), componentsOfInjector),
			slices.Concat(ofSentry, callersOfSentry),
			slices.Concat(ofOperator, seenByOperator, servicesOfOperator, in("", deletionByOperator), in(own, grant{"list", "pods", "", ""})), nil},
		"watchdog that marks, Rollouts": {`{dapr_operator: {watchInterval: 1m}, global: {operator: {watchdogCanPatchPodLabels: true}, argoRolloutServiceReconciler: {enabled: true}}}`,
			append(slices.Clone(ofInjector), componentsOfInjector), slices.Concat(ofSentry, callersOfSentry),
			slices.Concat(ofOperator, seenByOperator, servicesOfOperator, rolloutsOfOperator, in("", deletionByOperator, marksOfOperator)), []grant{ofSecretStore}},
		"marks without watchdog, no services": {`{global: {operator: {watchdogCanPatchPodLabels: true}}, dapr_operator: {serviceReconciler: {enabled: false}}}`,
			append(slices.Clone(ofInjector), componentsOfInjector), slices.Concat(ofSentry, callersOfSentry),
			slices.Concat(ofOperator, seenByOperator), []grant{ofSecretStore}},
		"one namespace": {`dapr_operator: {watchNamespace: shop, watchInterval: once}`, append(slices.Clone(ofInjector), componentsOfInjector),
			slices.Concat(ofSentry, callersOfSentry),
			slices.Concat(ofOperator, in("shop", seenByOperator...), in("shop", servicesOfOperator...), in("shop", deletionByOperator), in(own, grant{"list", "pods", "", ""})),
			[]grant{ofSecretStore}},
		"its own namespace": {`{global: {rbac: {namespaced: true}}, dapr_rbac: {secretReader: {namespace: shop}}}`, slices.Concat(ofInjector, in(own, componentsOfInjector)),
			slices.Concat(ofSentry, in(own, callersOfSentry...)),
			slices.Concat(ofOperator, in(own, seenByOperator...), in(own, servicesOfOperator...)), in("shop", ofSecretStore)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			documents := rbac(t, test.values)
			server.Apply(t, documents)
			accounts := map[string][]grant{own + ":dapr-injector": test.injector, own + ":dapr-sentry": test.sentry, own + ":dapr-operator": test.operator, own + ":dapr-placement": nil,
				"default:default": nil, "shop:default": nil}
			for _, g := range test.sidecars {
				accounts[g.namespace+":default"] = append(accounts[g.namespace+":default"], g)
			}
			for account, grants := range accounts {
				t.Run(strings.ReplaceAll(account, ":", " "), func(t *testing.T) { mayDo(t, server, account, grants) })
			}
			if out, err := server.Kubectl(t, documents, "delete", "-f", "-"); err != nil {
				t.Fatal(out)
			}
		})
	}
}

// rbac are the objects of a render by which accounts have rights.
func rbac(t *testing.T, with string) string {
	t.Helper()
	text, err := render(t, with)
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for document := range strings.SplitSeq(text, "\n---\n") {
		var o object
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			t.Fatal(err)
		}
		if slices.Contains([]string{"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}, o.Kind) {
			kept = append(kept, document)
		}
	}
	return strings.Join(kept, "\n---\n")
}

// settling bounds how long the API server may take to learn of roles that have come and gone.
const settling = 30 * time.Second

// mayDo: the API server says yes to each grant, lists no others for the account than these in three namespaces, and says no
// to what nobody may.
func mayDo(t *testing.T, server *kube.Server, account string, grants []grant) {
	t.Helper()
	client := server.Client(t)
	for end := time.Now().Add(settling); ; time.Sleep(50 * time.Millisecond) {
		wrong := differences(t, server, client, account, grants)
		if len(wrong) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatal(strings.Join(wrong, "\n"))
		}
	}
}

func differences(t *testing.T, server *kube.Server, client *cluster.Client, account string, grants []grant) (wrong []string) {
	t.Helper()
	for _, g := range grants {
		for verb := range strings.FieldsSeq(g.verbs) {
			namespace := g.namespace
			if namespace == "" && !clusterWide(g.resource) {
				namespace = "kube-system"
			}
			if !allowed(t, client, account, verb, g.resource, g.name, namespace) {
				wrong = append(wrong, fmt.Sprintf("it may not %s %s %s in %q", verb, g.resource, g.name, g.namespace))
			}
		}
	}
	for _, namespace := range []string{own, "shop", "default"} {
		want := map[string]bool{}
		for _, g := range grants {
			if g.namespace == "" || g.namespace == namespace {
				for verb := range strings.FieldsSeq(g.verbs) {
					want[verb+" "+g.resource+" "+g.name] = true
				}
			}
		}
		for right := range listed(t, server, account, namespace) {
			if !want[right] {
				wrong = append(wrong, fmt.Sprintf("it may %q in %s", right, namespace))
			}
		}
	}
	for _, r := range forbidden {
		if allowed(t, client, account, r.verbs, r.resource, r.name, r.namespace) {
			wrong = append(wrong, fmt.Sprintf("it may %s %s %s in %q", r.verbs, r.resource, r.name, r.namespace))
		}
	}
	return wrong
}

// forbidden is what would be worst, and nobody needs.
var forbidden = []grant{
	{"list", "secrets", "", "kube-system"}, {"watch", "secrets", "", "shop"}, {"create", "secrets", "", own}, {"delete", "secrets", "dapr-trust-bundle", own},
	{"update", "secrets", "another", own}, {"update", "secrets", "dapr-trust-bundle", "shop"},
	{"create", "pods", "", "shop"}, {"create", "pods/exec", "", "shop"}, {"create", "pods/ephemeralcontainers", "", "shop"},
	{"create", "serviceaccounts/token", "", own}, {"get", "serviceaccounts", "", "kube-system"}, {"impersonate", "serviceaccounts", "", own},
	{"create", "rbac.authorization.k8s.io/clusterrolebindings", "", ""}, {"escalate", "rbac.authorization.k8s.io/clusterroles", "", ""}, {"bind", "rbac.authorization.k8s.io/roles", "", own},
	{"create", "admissionregistration.k8s.io/mutatingwebhookconfigurations", "", ""}, {"patch", "admissionregistration.k8s.io/mutatingwebhookconfigurations", "another", ""},
	{"patch", "admissionregistration.k8s.io/validatingwebhookconfigurations", "", ""},
	{"patch", "apiextensions.k8s.io/customresourcedefinitions", "components.dapr.io", ""}, {"delete", "apiextensions.k8s.io/customresourcedefinitions", "subscriptions.dapr.io", ""},
	{"update", "dapr.io/components", "", "shop"}, {"update", "dapr.io/configurations", "daprsystem", own},
	{"update", "apps/deployments", "", "shop"}, {"update", "coordination.k8s.io/leases", "another", own}, {"get", "nodes", "", ""}, {"update", "services/status", "", "shop"},
}

func clusterWide(resource string) bool {
	for _, part := range []string{"mutatingwebhookconfigurations", "customresourcedefinitions", "tokenreviews"} {
		if strings.HasSuffix(resource, part) {
			return true
		}
	}
	return false
}

// groupOf splits what stands in a grant: [group/]resource[/subresource]. Groups have a dot, but for apps.
func groupOf(resource string) (group, rest string) {
	first, after, found := strings.Cut(resource, "/")
	if found && (first == "apps" || strings.Contains(first, ".")) {
		return first, after
	}
	return "", resource
}

func allowed(t *testing.T, client *cluster.Client, account, verb, resource, name, namespace string) bool {
	t.Helper()
	group, rest := groupOf(resource)
	rest, sub, _ := strings.Cut(rest, "/")
	of, _, _ := strings.Cut(account, ":")
	var answer struct {
		Status struct{ Allowed bool }
	}
	err := client.Do(t.Context(), http.MethodPost, map[string]any{"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": map[string]any{
		"user":               "system:serviceaccount:" + account,
		"groups":             []string{"system:serviceaccounts", "system:serviceaccounts:" + of, "system:authenticated"},
		"resourceAttributes": map[string]string{"verb": verb, "group": group, "resource": rest, "subresource": sub, "namespace": namespace, "name": name},
	}}, &answer, "apis", "authorization.k8s.io", "v1", "subjectaccessreviews")
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Allowed
}

// listed are the rights of an account in a namespace as RBAC adds them up, but for those that every account has.
func listed(t *testing.T, server *kube.Server, account, namespace string) map[string]bool {
	t.Helper()
	of, name, _ := strings.Cut(account, ":")
	rights := reviewed(t, server, of, name, namespace)
	server.Apply(t, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: nobody, namespace: kube-public}}")
	for right := range reviewed(t, server, "kube-public", "nobody", namespace) {
		delete(rights, right)
	}
	return rights
}

func reviewed(t *testing.T, server *kube.Server, of, account, namespace string) map[string]bool {
	t.Helper()
	client, err := cluster.New(server.KubeconfigOf(t, of, account), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var answer struct {
		Status struct {
			Incomplete    bool
			ResourceRules []struct{ Verbs, APIGroups, Resources, ResourceNames []string }
		}
	}
	err = client.Do(t.Context(), http.MethodPost, map[string]any{"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
		"spec": map[string]string{"namespace": namespace}}, &answer, "apis", "authorization.k8s.io", "v1", "selfsubjectrulesreviews")
	if err != nil || answer.Status.Incomplete {
		t.Fatalf("%+v %v", answer, err)
	}
	rights := map[string]bool{}
	for _, rule := range answer.Status.ResourceRules {
		if len(rule.ResourceNames) == 0 {
			rule.ResourceNames = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, name := range rule.ResourceNames {
					for _, verb := range rule.Verbs {
						rights[verb+" "+strings.TrimPrefix(group+"/"+resource, "/")+" "+name] = true
					}
				}
			}
		}
	}
	return rights
}
