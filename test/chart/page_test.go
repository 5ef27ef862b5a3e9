package chart

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/daprd/daprd/pkg/cluster"
	"github.com/daprd/daprd/pkg/sentry"
	"github.com/daprd/daprd/pkg/sentry/sentrytest"
	"github.com/daprd/daprd/test/kube"
)

// page is what users read.
const page = root + "/docs/kubernetes-install.md"

// block is one of the page: sh, yaml, or "sh nodes" for commands that take more than an API server.
type block struct{ section, kind, text string }

func blocks(t *testing.T) (all []block) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	section := ""
	for _, part := range regexp.MustCompile("(?ms)^## (.+?)$|^( *)```([a-z ]+)\n(.*?)^ *```$").FindAllStringSubmatch(string(text), -1) {
		if part[1] != "" {
			section = part[1]
			continue
		}
		all = append(all, block{section, part[3], regexp.MustCompile("(?m)^"+part[2]).ReplaceAllString(part[4], "")})
	}
	return all
}

// follower does what the page says, in a folder with the repository's charts.
type follower struct {
	*kube.Server
	client *cluster.Client
	folder string
	// kubeconfig leads to the server by way of one that has a version.
	kubeconfig string
	blocks     []block
}

// versioned is the way to an API server that was built without its version, which Helm asks for: the one of the go.mod of test/kube.
func versioned(t *testing.T, server *kube.Server) (kubeconfig string) {
	t.Helper()
	text, err := os.ReadFile(server.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile(root + "/test/kube/apiserver/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`k8s.io/kubernetes (v\S+)`).FindSubmatch(module)[1]
	to, err := url.Parse("https://" + server.Address)
	if err != nil {
		t.Fatal(err)
	}
	token := string(regexp.MustCompile(`token: "([^"]+)"`).FindSubmatch(text)[1]) // clients send none without TLS
	proxy := httputil.NewSingleHostReverseProxy(to)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	proxy.Transport = transport
	way := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/version" {
			fmt.Fprintf(w, `{"major":"1","minor":"34","gitVersion":%q}`, version)
			return
		}
		r.Header.Set("Authorization", "Bearer "+token)
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(way.Close)
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	changed := regexp.MustCompile(`cluster: \{server: [^}]*\}`).ReplaceAllString(string(text), "cluster: {server: "+way.URL+"}")
	if err := os.WriteFile(kubeconfig, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

// TestPage follows the page from its first command to the last one, with Helm's own command line, kubectl and the real API
// server. Between them the control plane does what it does: sentry makes a root, injector and operator publish it.
func TestPage(t *testing.T) {
	server := kube.Start(t)
	server.Apply(t, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: default}}")
	f := &follower{Server: server, client: server.Client(t), folder: t.TempDir(), kubeconfig: versioned(t, server), blocks: blocks(t)}
	charts, err := filepath.Abs(root + "/charts")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(charts, filepath.Join(f.folder, "charts")); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", filepath.Join(f.folder, "bin", "helm"), "helm.sh/helm/v3/cmd/helm").CombinedOutput(); err != nil {
		t.Fatalf("build helm: %v\n%s", err, out)
	}
	f.manifests(t)

	f.section(t, "Install")
	f.section(t, "Annotate")
	f.section(t, "The first call")
	var before bundle
	t.Run("the control plane", func(t *testing.T) {
		f.certify(t)
		f.publish(t)
		before = f.bundle(t)
	})
	if before.Data["ca.crt"] == "" || before.Data["issuer.key"] == "" || !f.published(t) {
		t.Fatalf("there is no root: %v", before)
	}

	f.section(t, "Upgrade")
	if after := f.bundle(t); after.Data["ca.crt"] != before.Data["ca.crt"] || after.Data["issuer.key"] != before.Data["issuer.key"] || !f.published(t) {
		t.Error("an upgrade has lost the root")
	}

	f.section(t, "Moving over from Dapr")
	if after := f.bundle(t); after.Data["ca.crt"] != before.Data["ca.crt"] || after.Data["issuer.key"] != before.Data["issuer.key"] {
		t.Error("the root was not brought along")
	}
	t.Run("the control plane with the root of before", func(t *testing.T) { f.certify(t) })
	if after := f.bundle(t); after.Data["ca.crt"] != before.Data["ca.crt"] {
		t.Error("sentry has not taken the root that was brought along")
	}
	f.section(t, "Upgrade")
	if after := f.bundle(t); after.Data["issuer.key"] != before.Data["issuer.key"] {
		t.Error("an upgrade has lost the root that was brought along")
	}
	if out := f.run(t, "kubectl get component statestore && kubectl get deployment nodeapp --output jsonpath={.spec.template.metadata.annotations}"); !strings.Contains(out, "restartedAt") {
		t.Errorf("the workload is %s", out)
	}

	f.section(t, "Remove")
	if out := f.run(t, "kubectl get customresourcedefinitions,clusterroles,mutatingwebhookconfigurations,all --all-namespaces --output name"); strings.Contains(out, "dapr") {
		t.Errorf("this is left: %s", out)
	}
}

// manifests writes those of the page under the names that it gives them.
func (f *follower) manifests(t *testing.T) {
	t.Helper()
	var all []block
	for _, b := range f.blocks {
		if b.kind == "yaml" {
			all = append(all, b)
		}
	}
	for i, name := range []string{"store.yaml", "nodeapp.yaml"} {
		if len(all) != 2 {
			t.Fatalf("the page has %d manifests", len(all))
		}
		if err := os.WriteFile(filepath.Join(f.folder, name), []byte(all[i].text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// section runs the commands of one.
func (f *follower) section(t *testing.T, name string) {
	t.Helper()
	ran := 0
	for _, b := range f.blocks {
		switch {
		case b.section != name:
		case b.kind == "sh":
			ran++
			t.Logf("%s\n%s", b.text, f.run(t, b.text))
		case b.kind == "sh nodes":
			if out, err := exec.Command("bash", "-n", "-c", b.text).CombinedOutput(); err != nil {
				t.Errorf("%s: %s", b.text, out)
			}
		case b.kind != "yaml":
			t.Errorf("a block of %q is not tried", b.kind)
		}
	}
	if ran == 0 {
		t.Fatalf("section %s has no commands", name)
	}
}

func (f *follower) run(t *testing.T, commands string) (output string) {
	t.Helper()
	shell := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", commands)
	shell.Dir = f.folder
	shell.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "HELM_") }),
		"PATH="+filepath.Join(f.folder, "bin")+":"+os.Getenv("PATH"), "KUBECONFIG="+f.kubeconfig, "HOME="+f.folder)
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%v\n%s", commands, err, out)
	}
	return string(out)
}

// bundle is the Secret of the mesh's root.
type bundle struct{ Data map[string]string }

func (f *follower) bundle(t *testing.T) (b bundle) {
	t.Helper()
	if err := f.client.Get(t.Context(), &b, "api", "v1", "namespaces", "dapr-system", "secrets", "dapr-trust-bundle"); err != nil {
		t.Fatal(err)
	}
	return b
}

// certify runs sentry until the test ends, with the rights of its account.
func (f *follower) certify(t *testing.T) {
	sentrytest.Start(t, func(c *sentry.Config, _ *sentry.Deps) {
		c.Mode, c.Kubeconfig, c.Configuration = sentry.Kubernetes, f.KubeconfigOf(t, "dapr-system", "dapr-sentry"), "daprsystem"
		c.Namespace, c.TrustDomain = "dapr-system", "cluster.local"
	})
}

// Where injector and operator publish the root.
var webhooks = map[string][]string{
	"dapr-injector": {"apis", "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "dapr-sidecar-injector"},
	"dapr-operator": {"apis", "apiextensions.k8s.io", "v1", "customresourcedefinitions", "subscriptions.dapr.io"},
}

// publish does so, with the rights of their accounts.
func (f *follower) publish(t *testing.T) {
	t.Helper()
	for account, path := range webhooks {
		at := map[string]string{"dapr-injector": "/webhooks/0/clientConfig/caBundle", "dapr-operator": "/spec/conversion/webhook/clientConfig/caBundle"}[account]
		theirs, err := cluster.New(f.KubeconfigOf(t, "dapr-system", account), "test")
		if err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		var answer any
		err = theirs.Do(t.Context(), http.MethodPatch, []map[string]string{{"op": "add", "path": at, "value": f.bundle(t).Data["ca.crt"]}}, &answer, path...)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// published says whether both are as publish left them.
func (f *follower) published(t *testing.T) bool {
	t.Helper()
	of := f.bundle(t).Data["ca.crt"]
	return of != "" && f.run(t, "kubectl get mutatingwebhookconfiguration dapr-sidecar-injector --output jsonpath='{.webhooks[0].clientConfig.caBundle}'") == of &&
		f.run(t, "kubectl get customresourcedefinition subscriptions.dapr.io --output jsonpath='{.spec.conversion.webhook.clientConfig.caBundle}'") == of
}
