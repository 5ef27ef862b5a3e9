// Package chart holds the chart against Helm's own library, in a module of its own: Helm is not for the sidecar to link.
package chart

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
	"helm.sh/helm/v3/pkg/action"
	helmchart "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
)

var update = flag.Bool("update", false, "rewrite the golden files and the table of values")

const root, folder = "../..", "../../charts/daprd"

// variants are the values of the golden renders.
func variants() map[string]string {
	return map[string]string{
		"default":           ``,
		"high-availability": `global: {ha: {enabled: true}}`,
		"hardened": `
global:
  registry: registry.example.com/mesh
  tag: 1.2.3
  imagePullSecrets: pull
  logAsJson: true
  k8sLabels: {team: platform}
  labels: {zone: inside}
  nodeSelector: {pool: control}
  tolerations: [{key: control, operator: Exists}]
  priorityClassName: system-cluster-critical
  daprControlPlaneArch: arm64
  ha: {enabled: true, replicaCount: 5, disruption: {minimumAvailable: 3}, podAntiAffinityPolicy: requiredDuringSchedulingIgnoredDuringExecution}
dapr_operator:
  image: {digest: "sha256:1111111111111111111111111111111111111111111111111111111111111111"}
  watchInterval: once
  watchNamespace: shop
dapr_sidecar_injector:
  image: {name: example.com/daprd, digest: "sha256:2222222222222222222222222222222222222222222222222222222222222222"}
  webhookFailurePolicy: Fail
  sidecarDropALLCapabilities: true
  sidecarRunAsUser: 1000700000
  nativeSidecar: true
  allowedServiceAccounts: ci:runner
  namespaceSelector: {matchLabels: {mesh: "yes"}}
  objectSelector: {matchLabels: {app: "yes"}}
  hostNetwork: true
networkPolicies: {enabled: true}
`,
		"namespaced": `
global:
  rbac: {namespaced: true}
  operator: {watchdogCanPatchPodLabels: true}
  prometheus: {enabled: false}
  mtls: {enabled: false, controlPlaneTrustDomain: mesh.example.com}
  actors: {enabled: false}
dapr_operator: {serviceReconciler: {enabled: false}}
dapr_placement: {scaleZero: true}
dapr_rbac: {secretReader: {enabled: false}}
dapr_sentry: {tls: {root: {certPEM: "root\n"}, issuer: {certPEM: certificate, keyPEM: key}}}
`,
		"tokens": `
global:
  argoRolloutServiceReconciler: {enabled: true}
  operator: {watchdogCanPatchPodLabels: true}
dapr_operator: {watchInterval: 10m, maxPodRestartsPerMinute: 3}
dapr_placement: {ha: true, replicaCount: 1, metadataEnabled: true, volumeclaims: {storageClassName: fast}}
dapr_sentry:
  jwt: {enabled: true, issuer: "https://sentry.example.com/mesh", signingAlgorithm: ES256, keyID: first, ttl: 1h}
  oidc: {enabled: true, port: 9443, tls: {secretName: oidc}, jwksURI: "https://sentry.example.com/keys", pathPrefix: /mesh, allowedHosts: [sentry.example.com, localhost]}
networkPolicies: {enabled: true}
`,
	}
}

func load(t *testing.T) *helmchart.Chart {
	t.Helper()
	loaded, err := loader.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func values(t *testing.T, text string) map[string]any {
	t.Helper()
	made, err := chartutil.ReadValues([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// render is helm template.
func render(t *testing.T, with string) (string, error) {
	t.Helper()
	release, err := installation().Run(load(t), values(t, with))
	if err != nil {
		return "", err
	}
	return release.Manifest, nil
}

// installation is of no cluster.
func installation() *action.Install {
	install := action.NewInstall(new(action.Configuration))
	install.ReleaseName, install.Namespace = "dapr", "dapr-system"
	install.DryRun, install.ClientOnly, install.Replace = true, true, true
	install.KubeVersion = &chartutil.KubeVersion{Version: "v1.34.0", Major: "1", Minor: "34"}
	return install
}

// TestRenders: what the main variants come to.
func TestRenders(t *testing.T) {
	for name, with := range variants() {
		t.Run(name, func(t *testing.T) {
			got, err := render(t, with)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", name+".yaml"), got)
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: -want +got (-update rewrites the file):\n%s", path, diff)
	}
}

// TestLint: helm lint has nothing to say.
func TestLint(t *testing.T) {
	for name, with := range variants() {
		t.Run(name, func(t *testing.T) {
			linter := lint.AllWithKubeVersion(folder, values(t, with), "dapr-system", &chartutil.KubeVersion{Version: "v1.34.0", Major: "1", Minor: "34"})
			for _, m := range linter.Messages {
				if m.Severity >= support.WarningSev {
					t.Error(m)
				}
			}
		})
	}
}

// TestSchema: values that cannot be meant are refused by their name; those of Dapr's chart that this one has no use for are taken.
func TestSchema(t *testing.T) {
	refused := map[string]string{
		`dapr_sentry: {jwt: {signingAlgorithm: HS256}}`:      "signingAlgorithm",
		`dapr_sentry: {oidc: {enabled: true}}`:               "it needs dapr_sentry.jwt.enabled=true",
		`global: {mtls: {enable: true}}`:                     "/global/mtls/enable': value must be 'left out; there are enabled, workloadCertTTL,",
		`global: {k8sLabels: {team: 1}}`:                     "/global/k8sLabels/team",
		`global: {imagePullPolicy: Sometimes}`:               "imagePullPolicy",
		`dapr_sidecar_injector: {webhookFailurePolicy: No}`:  "webhookFailurePolicy",
		`dapr_operator: {logLevel: loud}`:                    "logLevel",
		`dapr_operator: {replicas: 2}`:                       "/dapr_operator/replicas': value must be 'left out; there are replicaCount, logLevel,",
		`dapr_operator: {image: {digest: "1234"}}`:           "digest",
		`global: {mtls: {workloadCertTTL: a day}}`:           "workloadCertTTL",
		`global: {prometheus: {port: 0}}`:                    "port",
		`dapr_placement: {replicaCount: many}`:               "replicaCount",
		`dapr_sentry: {tls: {root: {certPEM: x}}}`:           "dapr_sentry.tls: root.certPEM, issuer.certPEM and issuer.keyPEM are needed together",
		`dapr_sidecar_injectors: {}`:                         "dapr_sidecar_injectors",
		`dapr_operator: {watchInterval: sometimes}`:          "watchInterval",
		`dapr_sidecar_injector: {sidecarRunAsUser: nonroot}`: "sidecarRunAsUser",
	}
	for text, want := range refused {
		if _, err := render(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{
		`dapr_scheduler: {cluster: {storageSize: 1Gi}}`, `dapr_dashboard: {enabled: false}`, `dapr_sentry: {jwt: {enabled: true}, oidc: {enabled: true, tls: {enabled: false}}}`, `enabled: true`,
		`dapr_operator: {debug: {enabled: false}}`, `global: {mtls: {mountSentryVolume: true}}`,
		`dapr_sidecar_injector: {sidecarRunAsUser: 1000, sidecarRunAsGroup: "1000"}`, `global: {ha: {disruption: {maximumUnavailable: 1}}}`,
		`global: {imagePullSecrets: [{name: a}, {name: b}]}`,
	} {
		if _, err := render(t, text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// object is one of a render.
type object struct {
	Kind     string
	Metadata struct{ Name, Namespace string }
	Spec     struct {
		Template struct {
			Spec struct {
				HostNetwork bool `yaml:"hostNetwork"`
				Containers  []container
				Volumes     []struct{ Name string }
			}
		}
		VolumeClaimTemplates []object `yaml:"volumeClaimTemplates"`
		Replicas             int
	}
	Rules []struct{ Resources, Verbs []string }
}

type container struct {
	Name, Image   string
	Command, Args []string
	Ports         []struct {
		Name          string
		ContainerPort int `yaml:"containerPort"`
	}
	Env []struct {
		Name      string
		ValueFrom struct {
			FieldRef struct {
				FieldPath string `yaml:"fieldPath"`
			} `yaml:"fieldRef"`
		} `yaml:"valueFrom"`
	}
	VolumeMounts []mount `yaml:"volumeMounts"`
}

type mount struct {
	Name      string
	MountPath string `yaml:"mountPath"`
}

// expanded are the arguments as the kubelet gives them, with the variables that hold the name of the first pod.
func (c *container) expanded(workload string) (all []string) {
	for _, a := range c.Args {
		for _, e := range c.Env {
			if e.ValueFrom.FieldRef.FieldPath == "metadata.name" {
				a = strings.ReplaceAll(a, "$("+e.Name+")", workload+"-0")
			}
		}
		all = append(all, a)
	}
	return all
}

func objects(t *testing.T, with string) (all []object) {
	t.Helper()
	text, err := render(t, with)
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var o object
		if err := decoder.Decode(&o); err != nil {
			break
		}
		all = append(all, o)
	}
	if len(all) < 10 {
		t.Fatalf("%d objects", len(all))
	}
	return all
}

// parts are the binaries of the control plane.
var parts = []string{"injector", "operator", "placement", "sentry"}

// TestFlags: every binary takes the arguments that the chart gives it. --version has it read them and do nothing.
func TestFlags(t *testing.T) {
	binaries := map[string]string{}
	for _, name := range parts {
		binaries[name] = build(t, name)
		static(t, binaries[name])
	}
	for variant, with := range variants() {
		for _, o := range objects(t, with) {
			for _, c := range o.Spec.Template.Spec.Containers {
				name := strings.TrimPrefix(c.Command[0], "/")
				t.Run(variant+"/"+name, func(t *testing.T) {
					command := exec.Command(binaries[name], append(c.expanded(o.Metadata.Name), "--version")...)
					command.Env = append(os.Environ(), "NAMESPACE=dapr-system")
					if out, err := command.CombinedOutput(); err != nil {
						t.Errorf("%v: %s", err, out)
					}
				})
			}
		}
	}
}

// TestParts: each part is there in every variant that does not leave it out.
func TestParts(t *testing.T) {
	for variant, with := range variants() {
		var found []string
		for _, o := range objects(t, with) {
			for _, c := range o.Spec.Template.Spec.Containers {
				found = append(found, strings.TrimPrefix(c.Command[0], "/"))
			}
		}
		if variant == "namespaced" { // scaleZero
			found = append(found, "placement")
		}
		slices.Sort(found)
		if !slices.Equal(found, parts) {
			t.Errorf("%s: %v, want %v", variant, found, parts)
		}
	}
}

// TestElection: the placement servers know each other, each by the name of its pod, and keep their votes on a volume where
// there are several.
func TestElection(t *testing.T) {
	for with, want := range map[string]struct {
		peers   int
		durable bool
	}{
		``:                              {1, false},
		`global: {ha: {enabled: true}}`: {3, true},
		`global: {ha: {enabled: true, replicaCount: 5}}`:                                 {5, true},
		`dapr_placement: {ha: true, replicaCount: 3}`:                                    {3, true},
		`dapr_placement: {ha: true, cluster: {forceInMemoryLog: true}, replicaCount: 3}`: {3, false},
	} {
		all := objects(t, with)
		i := slices.IndexFunc(all, func(o object) bool { return o.Kind == "StatefulSet" })
		set := all[i]
		c := set.Spec.Template.Spec.Containers[0]
		arguments := c.expanded(set.Metadata.Name)
		cluster := arguments[slices.Index(arguments, "--initial-cluster")+1]
		peers := strings.Split(cluster, ",")
		if len(peers) != want.peers || set.Spec.Replicas != want.peers {
			t.Errorf("%s: %d replicas, cluster %s", with, set.Spec.Replicas, cluster)
		}
		for n, p := range peers {
			id := fmt.Sprintf("%s-%d", set.Metadata.Name, n)
			if p != id+"="+id+".dapr-placement-server.dapr-system.svc.cluster.local:8201" {
				t.Errorf("%s: peer %s", with, p)
			}
		}
		if id := arguments[slices.Index(arguments, "--id")+1]; id != "dapr-placement-server-0" {
			t.Errorf("%s: the id is %s", with, id)
		}
		stored := slices.ContainsFunc(c.VolumeMounts, func(m mount) bool {
			j := slices.Index(arguments, "--raft-logstore-path")
			return j > 0 && strings.HasPrefix(arguments[j+1], m.MountPath+"/")
		})
		if stored != want.durable || slices.Contains(arguments, "--inmem-store-enabled=true") == want.durable || len(set.Spec.VolumeClaimTemplates) == 1 != want.durable {
			t.Errorf("%s: durable votes %t, want %t: %v", with, stored, want.durable, arguments)
		}
	}
}

// TestNamesInSchema: what the schema says of the names that there are is true, and each value has its place in it.
func TestNamesInSchema(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(folder, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema schema
	if err := yaml.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	schema.check(t, "")
}

type schema struct {
	Properties           map[string]schema
	AdditionalProperties struct{ Const string } `yaml:"additionalProperties"`
}

func (s schema) check(t *testing.T, path string) {
	for name, p := range s.Properties {
		p.check(t, path+"."+name)
	}
	if len(s.Properties) == 0 {
		return
	}
	list, found := strings.CutPrefix(s.AdditionalProperties.Const, "left out; there are ")
	told, have := strings.Split(list, ", "), slices.Collect(maps.Keys(s.Properties))
	if path == "" {
		told = append(told, "enabled") // of charts that have this one as a dependency
	}
	slices.Sort(told)
	slices.Sort(have)
	if path != ".global.imagePullSecrets" && (!found || !slices.Equal(told, have)) {
		t.Errorf("%s: says %q, has %v", path, s.AdditionalProperties.Const, have)
	}
}

// TestNotes: the notes name each value that is taken without an effect, and no other.
func TestNotes(t *testing.T) {
	for with, want := range map[string]string{
		``: "",
		`{dapr_scheduler: {cluster: {}}, dapr_operator: {debug: {enabled: true}}, global: {dnsSuffix: x, mtls: {mountSentryVolume: true}}}`: "These values have no effect here: dapr_scheduler, global.dnsSuffix, global.mtls.mountSentryVolume, dapr_operator.debug.",
		`dapr_sentry: {jwt: {enabled: true}}`:  "",
		`global: {scheduler: {enabled: true}}`: "which this chart does not have (global.scheduler.enabled)",
		`global: {rbac: {namespaced: true}}`:   "Only applications in namespace dapr-system are served",
	} {
		install := installation()
		release, err := install.Run(load(t), values(t, with))
		if err != nil {
			t.Fatal(err)
		}
		if notes := release.Info.Notes; !strings.Contains(notes, want) || want == "" && (strings.Contains(notes, "no effect") || strings.Contains(notes, "served")) {
			t.Errorf("%s: %s", with, notes)
		}
	}
}

var builds string

func TestMain(m *testing.M) {
	flag.Parse()
	var err error
	if builds, err = os.MkdirTemp("", "chart"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(builds)
	os.Exit(code)
}

func build(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(builds, name)
	command := exec.Command("make", "BIN="+builds, path) // as the Dockerfile does
	command.Dir = root
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return path
}

// TestObjects: no object is there twice, each mount has its volume, no two ports of a pod are the same, no right is a wildcard.
func TestObjects(t *testing.T) {
	for variant, with := range variants() {
		seen := map[string]bool{}
		for _, o := range objects(t, with) {
			key := o.Kind + "/" + o.Metadata.Namespace + "/" + o.Metadata.Name
			if seen[key] {
				t.Errorf("%s: %s is there twice", variant, key)
			}
			seen[key] = true
			volumes := map[string]bool{}
			for _, v := range o.Spec.Template.Spec.Volumes {
				volumes[v.Name] = true
			}
			for _, v := range o.Spec.VolumeClaimTemplates {
				volumes[v.Metadata.Name] = true
			}
			for _, c := range o.Spec.Template.Spec.Containers {
				for _, m := range c.VolumeMounts {
					if !volumes[m.Name] {
						t.Errorf("%s: %s has no volume %s", variant, key, m.Name)
					}
				}
				ports := map[int]string{}
				for _, p := range c.Ports {
					if other := ports[p.ContainerPort]; other != "" {
						t.Errorf("%s: %s: %s and %s are one port", variant, key, p.Name, other)
					}
					ports[p.ContainerPort] = p.Name
				}
			}
			for _, r := range o.Rules {
				if slices.Contains(r.Verbs, "*") || slices.Contains(r.Resources, "*") {
					t.Errorf("%s: %s gives a right by a wildcard", variant, key)
				}
			}
		}
	}
}

// TestTypes: every object is one of Kubernetes by the letter; a field that is none would be dropped in silence.
func TestTypes(t *testing.T) {
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	for variant, with := range variants() {
		text, err := render(t, with)
		if err != nil {
			t.Fatal(err)
		}
		for document := range strings.SplitSeq(text, "\n---\n") {
			if strings.Contains(document, "apiVersion: dapr.io/") || !strings.Contains(document, "kind:") {
				continue
			}
			if _, _, err := strict.Decode([]byte(document), nil, nil); err != nil {
				t.Errorf("%s: %v\n%s", variant, err, document)
			}
		}
	}
}

// TestReadme: the table of the README is that of values.yaml, with the comments that stand there.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(folder, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	table.WriteString("| value | default | meaning |\n|---|---|---|\n")
	rows(t, &table, "", document.Content[0])
	path := filepath.Join(folder, "README.md")
	readme, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	of := regexp.MustCompile(`(?s)\| value \| default \| meaning \|\n.*?\n\n`)
	if !of.Match(readme) {
		t.Fatal("the README has no table of values")
	}
	next := of.ReplaceAllLiteralString(string(readme), table.String()+"\n")
	golden(t, path, next)
}

func rows(t *testing.T, table *bytes.Buffer, prefix string, node *yaml.Node) {
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		path := prefix + key.Value
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 {
			rows(t, table, path+".", value)
			continue
		}
		meaning := strings.TrimPrefix(key.HeadComment, "# ")
		if meaning == "" || strings.Contains(meaning, "\n") {
			t.Errorf("values.yaml: %s has no comment of one line", path)
		}
		shown := value.Value
		switch {
		case value.Kind == yaml.MappingNode:
			shown = "{}"
		case value.Kind == yaml.SequenceNode:
			shown = "[]"
		case shown == "":
			shown = `""`
		}
		fmt.Fprintf(table, "| `%s` | `%s` | %s |\n", path, shown, meaning)
	}
}

// TestImages: each image that the chart names is a target of the Dockerfile.
func TestImages(t *testing.T) {
	targets := targets(t)
	var names []string
	for _, o := range objects(t, "") {
		for _, c := range o.Spec.Template.Spec.Containers {
			names = append(names, c.Image)
		}
	}
	names = append(names, "ghcr.io/daprd/daprd:edge") // the sidecar's, which only the injector's environment has
	for _, name := range names {
		target := strings.TrimSuffix(strings.TrimPrefix(name, "ghcr.io/daprd/"), ":edge")
		if !slices.Contains(targets, target) {
			t.Errorf("%s is none of the targets %s", name, targets)
		}
	}
}
