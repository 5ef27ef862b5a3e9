package injector_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/daprd/daprd/pkg/injector"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newWebhook is that of an installation with the chart's values.
func newWebhook() *injector.Webhook {
	log, _ := logtest.NewNullLogger()
	return &injector.Webhook{Log: log, Anchors: "-----BEGIN CERTIFICATE-----\n", Mesh: injector.Mesh{
		Namespace: "dapr-system", TrustDomain: "cluster.local", ClusterDomain: "cluster.local", ActorsEnabled: true,
		Image: "ghcr.io/daprd/daprd:1", PullPolicy: "IfNotPresent", RunAsNonRoot: true, ReadOnlyRootFilesystem: true,
	}}
}

func replicaSet() authenticationv1.UserInfo {
	return authenticationv1.UserInfo{Username: "system:serviceaccount:kube-system:replicaset-controller", UID: "1",
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"}}
}

// reviewOf is what the API server sends for a pod.
func reviewOf(t testing.TB, pod any) *admissionv1.AdmissionReview {
	t.Helper()
	raw, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	return &admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{UID: "u-1", Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Namespace: "default",
			Operation: admissionv1.Create, UserInfo: replicaSet(), Object: runtime.RawExtension{Raw: raw}}}
}

func podWith(annotations map[string]string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "nodeapp-", Annotations: annotations},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "node", Image: "example.com/node"}}}}
}

// ask sends a review over HTTP.
func ask(t testing.TB, w *injector.Webhook, review any) *admissionv1.AdmissionReview {
	t.Helper()
	body, err := json.Marshal(review)
	if err != nil {
		t.Fatal(err)
	}
	handler, err := w.Handler()
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodPost, "/mutate?timeout=10s", bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	if recorder.Code != http.StatusOK || recorder.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s %s", recorder.Code, recorder.Header(), recorder.Body)
	}
	answer := new(admissionv1.AdmissionReview)
	if err := json.Unmarshal(recorder.Body.Bytes(), answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// golden is a file of testdata/patches: what is asked, and after --- what is answered.
type golden struct {
	// Mesh changes fields of the installation.
	Mesh        json.RawMessage `json:"mesh,omitempty"`
	WithoutMTLS bool            `json:"withoutMTLS,omitempty"`
	Components  json.RawMessage `json:"components,omitempty"`
	Pod         json.RawMessage `json:"pod"`
}

// TestPatches: what a pod becomes. The patch applies, leaves a pod, and asked again the injector leaves it alone.
func TestPatches(t *testing.T) {
	files, err := filepath.Glob("testdata/patches/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	covered := map[string]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			asked, want, _ := strings.Cut(string(text), "---\n")
			var test golden
			if err := yaml.UnmarshalStrict([]byte(asked), &test); err != nil {
				t.Fatal(err)
			}
			w := newWebhook()
			w.Components, w.WithoutMTLS = test.Components, test.WithoutMTLS
			if test.Mesh != nil {
				if err := json.Unmarshal(test.Mesh, &w.Mesh); err != nil {
					t.Fatal(err)
				}
			}
			answer := ask(t, w, reviewOf(t, test.Pod)).Response
			if !answer.Allowed || answer.UID != "u-1" || answer.PatchType == nil || *answer.PatchType != admissionv1.PatchTypeJSONPatch {
				t.Fatalf("%+v", answer)
			}
			got := asYAML(t, map[string]any{"warnings": answer.Warnings, "patch": json.RawMessage(answer.Patch)})
			if *update {
				if err := os.WriteFile(file, []byte(asked+"---\n"+got), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(want, got); diff != "" {
				t.Error("-want +got (-update rewrites the file):\n" + diff)
			}
			pod := apply(t, test.Pod, answer.Patch)
			for name := range pod.Annotations {
				covered[name] = true
			}
			if again := ask(t, w, reviewOf(t, pod)).Response; !again.Allowed || again.Patch != nil {
				t.Errorf("the second time: %+v", again)
			}
		})
	}
	for _, row := range injector.Annotations() {
		if !covered["dapr.io/"+row.Name] {
			t.Errorf("no case has the annotation %s", row.Name)
		}
	}
}

func asYAML(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	made, err := yaml.JSONToYAML(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(made)
}

// apply patches a pod; what comes of it has to be one still.
func apply(t *testing.T, pod, patch []byte) *corev1.Pod {
	t.Helper()
	decoded, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatal(err)
	}
	patched, err := decoded.Apply(pod)
	if err != nil {
		t.Fatal(err)
	}
	made := new(corev1.Pod)
	if err := yaml.UnmarshalStrict(patched, made); err != nil {
		t.Fatal(err)
	}
	return made
}

// TestLeftAlone: pods that get no sidecar are allowed as they are.
func TestLeftAlone(t *testing.T) {
	enabled := map[string]string{"dapr.io/enabled": "true", "dapr.io/app-id": "a"}
	tests := map[string]func(*admissionv1.AdmissionReview, *corev1.Pod){
		"not enabled":    func(_ *admissionv1.AdmissionReview, p *corev1.Pod) { p.Annotations["dapr.io/enabled"] = "no" },
		"no annotations": func(_ *admissionv1.AdmissionReview, p *corev1.Pod) { p.Annotations = nil },
		"blank":          func(_ *admissionv1.AdmissionReview, p *corev1.Pod) { p.Annotations["dapr.io/enabled"] = "" },
		"injected": func(_ *admissionv1.AdmissionReview, p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "daprd"})
		},
		"injected as a native sidecar": func(_ *admissionv1.AdmissionReview, p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "daprd"}}
		},
		"injected, a bad value": func(_ *admissionv1.AdmissionReview, p *corev1.Pod) {
			p.Annotations["dapr.io/app-port"] = "x"
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "daprd"})
		},
		"a user": func(r *admissionv1.AdmissionReview, _ *corev1.Pod) {
			r.Request.UserInfo = authenticationv1.UserInfo{Username: "jane", Groups: []string{"system:authenticated"}}
		},
		"a user with a bad value": func(r *admissionv1.AdmissionReview, p *corev1.Pod) {
			r.Request.UserInfo = authenticationv1.UserInfo{Username: "jane"}
			p.Annotations["dapr.io/app-port"] = "x"
		},
		"another account": func(r *admissionv1.AdmissionReview, _ *corev1.Pod) {
			r.Request.UserInfo.Username = "system:serviceaccount:default:replicaset-controller"
		},
		"a name like an account's": func(r *admissionv1.AdmissionReview, _ *corev1.Pod) {
			r.Request.UserInfo.Username = "kube-system:replicaset-controller"
		},
		"an update": func(r *admissionv1.AdmissionReview, _ *corev1.Pod) { r.Request.Operation = admissionv1.Update },
		"a part of a pod": func(r *admissionv1.AdmissionReview, _ *corev1.Pod) {
			r.Request.SubResource = "ephemeralcontainers"
		},
		"another kind": func(r *admissionv1.AdmissionReview, _ *corev1.Pod) {
			r.Request.Kind = metav1.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			pod := podWith(maps.Clone(enabled))
			review := reviewOf(t, pod)
			change(review, pod)
			review.Request.Object = reviewOf(t, pod).Request.Object
			answer := ask(t, newWebhook(), review)
			if diff := cmp.Diff(&admissionv1.AdmissionResponse{UID: "u-1", Allowed: true}, answer.Response); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestCallers: whose pods get a sidecar.
func TestCallers(t *testing.T) {
	account := func(name string) authenticationv1.UserInfo {
		return authenticationv1.UserInfo{Username: "system:serviceaccount:" + name}
	}
	tests := map[string]struct {
		accounts, prefixes string
		user               authenticationv1.UserInfo
		want               bool
	}{
		"replica sets":                 {"", "", replicaSet(), true},
		"jobs":                         {"", "", account("kube-system:job-controller"), true},
		"tekton":                       {"", "", account("tekton-pipelines:tekton-pipelines-controller"), true},
		"the controller manager":       {"", "", authenticationv1.UserInfo{Username: "system:kube-controller-manager"}, true},
		"an administrator":             {"", "", authenticationv1.UserInfo{Username: "jane", Groups: []string{"a", "system:masters"}}, true},
		"one that is allowed":          {"a:b, ci:runner", "", account("ci:runner"), true},
		"one that is not":              {"a:b", "", account("a:bb"), false},
		"a beginning":                  {"", "ci:run*", account("ci:runner"), true},
		"a beginning of the namespace": {"", "ci-*:runner", account("ci-1:runner"), true},
		"everything of a namespace":    {"", "ci:*", account("ci:runner"), true},
		"another namespace":            {"", "ci:*", account("ci2:runner"), false},
		"nobody":                       {"a:b", "c:*", authenticationv1.UserInfo{}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWebhook()
			w.Accounts, w.Prefix = test.accounts, test.prefixes
			review := reviewOf(t, podWith(map[string]string{"dapr.io/enabled": "true", "dapr.io/app-id": "a"}))
			review.Request.UserInfo = test.user
			if got := ask(t, w, review).Response.Patch != nil; got != test.want {
				t.Errorf("got %t", got)
			}
		})
	}
	for _, list := range []string{"a", "a:b*", "a/b:c", ":", "A:b", "a:b:c"} {
		w := newWebhook()
		w.Accounts = list
		if _, err := w.Handler(); err == nil || !strings.Contains(err.Error(), "ALLOWED_SERVICE_ACCOUNTS: ") || !strings.Contains(err.Error(), "it takes namespace:name") {
			t.Errorf("%q: %v", list, err)
		}
	}
}

// TestRefusals: a bad value is refused with the annotation, the value and what is allowed.
func TestRefusals(t *testing.T) {
	long := strings.Repeat("x", 300)
	tests := map[string]struct {
		annotations map[string]string
		want        string
	}{
		"enabled":            {map[string]string{"enabled": "perhaps"}, `annotation dapr.io/enabled: "perhaps" is not allowed; it takes true or false, also yes, on, 1, no, off, 0`},
		"app id":             {map[string]string{"app-id": "My.App"}, `annotation dapr.io/app-id: "My.App" is not allowed; it takes lower-case letters, digits and -, 58 at most: <app-id>-dapr is the name of its service`},
		"a long app id":      {map[string]string{"app-id": long[:59]}, `annotation dapr.io/app-id: "` + long[:59] + `" is not allowed; it takes lower-case`},
		"no app id":          {map[string]string{"app-id": ""}, `annotation dapr.io/app-id is missing, and the name of the pod, which would be the app id without it, is not known yet`},
		"port":               {map[string]string{"app-port": "http"}, `annotation dapr.io/app-port: "http" is not allowed; it takes a whole number from 0 to 65535`},
		"a large port":       {map[string]string{"metrics-port": "65536"}, `annotation dapr.io/metrics-port: "65536" is not allowed; it takes a port, 1 to 65535`},
		"protocol":           {map[string]string{"app-protocol": "ftp"}, `annotation dapr.io/app-protocol: "ftp" is not allowed; it takes one of http, https, h2c, grpc, grpcs`},
		"log level":          {map[string]string{"log-level": "loud"}, `annotation dapr.io/log-level: "loud" is not allowed; it takes one of debug, info, warn, error, fatal`},
		"address":            {map[string]string{"app-channel-address": "a b"}, `annotation dapr.io/app-channel-address: "a b" is not allowed; it takes a host, an IPv6 address in brackets`},
		"addresses":          {map[string]string{"placement-host-address": "p:1,p"}, `annotation dapr.io/placement-host-address: "p:1,p" is not allowed; it takes host:port, several of them between commas, or "" for none`},
		"init endpoints":     {map[string]string{"disable-init-endpoints": "config,all"}, `annotation dapr.io/disable-init-endpoints: "config,all" is not allowed; it takes one of config, subscribe, several of them between commas`},
		"duration":           {map[string]string{"block-shutdown-duration": "10"}, `annotation dapr.io/block-shutdown-duration: "10" is not allowed; it takes a duration, 30s or 5m for one`},
		"negative duration":  {map[string]string{"block-shutdown-duration": "-1s"}, `annotation dapr.io/block-shutdown-duration: "-1s" is not allowed; it takes a duration`},
		"no duration":        {map[string]string{"actors-disseminate-timeout": "0s"}, `annotation dapr.io/actors-disseminate-timeout: "0s" is not allowed; it takes a duration`},
		"configuration":      {map[string]string{"config": "my config"}, `annotation dapr.io/config: "my config" is not allowed; it takes the name of an object`},
		"secret":             {map[string]string{"api-token-secret": "a/b"}, `annotation dapr.io/api-token-secret: "a/b" is not allowed; it takes the name of an object`},
		"env":                {map[string]string{"env": "novalue"}, `annotation dapr.io/env: "novalue" is not allowed; it takes NAME=value, several of them between commas`},
		"env from secrets":   {map[string]string{"env-from-secret": "A=b:c:d"}, `annotation dapr.io/env-from-secret: "A=b:c:d" is not allowed; it takes NAME=secret:key`},
		"quantity":           {map[string]string{"sidecar-cpu-limit": "much"}, `annotation dapr.io/sidecar-cpu-limit: "much" is not allowed; it takes a quantity above 0, 100m or 250Mi for one`},
		"no quantity":        {map[string]string{"sidecar-memory-limit": "-1Mi"}, `annotation dapr.io/sidecar-memory-limit: "-1Mi" is not allowed; it takes a quantity above 0`},
		"size":               {map[string]string{"max-body-size": "4 MB"}, `annotation dapr.io/max-body-size: "4 MB" is not allowed; it takes a size, 512Ki or 8Mi for one`},
		"probe":              {map[string]string{"sidecar-liveness-probe-period-seconds": "0"}, `annotation dapr.io/sidecar-liveness-probe-period-seconds: "0" is not allowed; it takes a whole number from 1 to 2147483647`},
		"folder":             {map[string]string{"unix-domain-socket-path": "tmp/sockets"}, `annotation dapr.io/unix-domain-socket-path: "tmp/sockets" is not allowed; it takes an absolute path`},
		"a folder elsewhere": {map[string]string{"unix-domain-socket-path": "/tmp/../etc"}, `annotation dapr.io/unix-domain-socket-path: "/tmp/../etc" is not allowed; it takes an absolute path`},
		"mounts":             {map[string]string{"volume-mounts": "data"}, `annotation dapr.io/volume-mounts: "data" is not allowed; it takes volume:/absolute/path, several of them between commas`},
		"seccomp":            {map[string]string{"sidecar-seccomp-profile-type": "Localhost"}, `annotation dapr.io/sidecar-seccomp-profile-type: "Localhost" is not allowed; it takes one of RuntimeDefault, Unconfined`},
		"image":              {map[string]string{"sidecar-image": "an image"}, `annotation dapr.io/sidecar-image: "an image" is not allowed; it takes an image`},
		"service":            {map[string]string{"sidecar-svc-annotations": "k"}, `annotation dapr.io/sidecar-svc-annotations: "k" is not allowed; it takes key=value, several of them between commas`},
		"health path":        {map[string]string{"app-health-check-path": "healthz"}, `annotation dapr.io/app-health-check-path: "healthz" is not allowed; it takes a path, which begins with /`},
		"slow health checks": {map[string]string{"enable-app-health-check": "true", "app-health-probe-timeout": "6000"},
			`annotation dapr.io/app-health-probe-timeout: 6000 milliseconds are more than the interval between probes; it takes 5000 (app-health-probe-interval) at most`},
		"one port twice": {map[string]string{"app-port": "50001"}, `annotation dapr.io/app-port: 50001 is not allowed; it takes another port than that of the gRPC API, beside which it listens`},
		"the metrics' port": {map[string]string{"metrics-port": "3501"},
			`annotation dapr.io/metrics-port: 3501 is not allowed; it takes another port than that of the sidecar's health, beside which it listens`},
		"a request above the limit": {map[string]string{"sidecar-cpu-request": "2", "sidecar-cpu-limit": "1500m"},
			`annotation dapr.io/sidecar-cpu-request: "2" is not allowed; it takes no more than sidecar-cpu-limit, 1500m`},
		"several":      {map[string]string{"app-port": "x", "log-level": "y"}, `annotation dapr.io/app-port: "x" is not allowed; it takes a whole number from 0 to 65535; annotation dapr.io/log-level: "y" is not`},
		"a long value": {map[string]string{"config": long}, `annotation dapr.io/config: "` + long[:200] + `…" is not allowed`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			annotations := map[string]string{"dapr.io/enabled": "true", "dapr.io/app-id": "a"}
			for k, v := range test.annotations {
				annotations["dapr.io/"+k] = v
			}
			answer := ask(t, newWebhook(), reviewOf(t, podWith(annotations))).Response
			if answer.Allowed || answer.Patch != nil || answer.Result == nil || answer.Result.Code != http.StatusUnprocessableEntity || answer.UID != "u-1" {
				t.Fatalf("%+v", answer)
			}
			if !strings.HasPrefix(answer.Result.Message, test.want) {
				t.Errorf("got  %s\nwant %s", answer.Result.Message, test.want)
			}
		})
	}
}

// TestComponentContainers: Components that describe no container end in a refusal that names them.
func TestComponentContainers(t *testing.T) {
	tests := map[string]struct{ described, want string }{
		"no JSON":       {`{`, `annotation dapr.io/component-container of Component store: it takes a container as JSON, {"image":"example.com/store:1"} for one: `},
		"no image":      {`{}`, `annotation dapr.io/component-container of Component store: the container has no image`},
		"no name":       {`{"name":"A","image":"i"}`, `annotation dapr.io/component-container of Component store: "A" cannot be the name of the container; the field name gives it another one`},
		"the sidecar's": {`{"name":"daprd","image":"i"}`, `annotation dapr.io/component-container of Component store: "daprd" cannot be`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWebhook()
			var err error
			if w.Components, err = json.Marshal([]any{map[string]any{"metadata": map[string]any{"name": "store",
				"annotations": map[string]string{"dapr.io/component-container": test.described}}}}); err != nil {
				t.Fatal(err)
			}
			answer := ask(t, w, reviewOf(t, podWith(map[string]string{"dapr.io/enabled": "true", "dapr.io/app-id": "a", "dapr.io/inject-pluggable-components": "true"}))).Response
			if answer.Allowed || answer.Result == nil || !strings.HasPrefix(answer.Result.Message, test.want) {
				t.Errorf("%+v", answer)
			}
		})
	}
}

// TestProtocol: what is no review, and the older version of one.
func TestProtocol(t *testing.T) {
	review := reviewOf(t, podWith(map[string]string{"dapr.io/enabled": "true", "dapr.io/app-id": "a"}))
	body, err := json.Marshal(review)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		contentType string
		body        []byte
		code        int
		want        string // what must be in the answer
	}{
		"a review":            {"application/json", body, http.StatusOK, `"allowed":true,"patch":`},
		"v1beta1":             {"application/json", bytes.Replace(body, []byte("k8s.io/v1"), []byte("k8s.io/v1beta1"), 1), http.StatusOK, `"apiVersion":"admission.k8s.io/v1beta1"`},
		"another content":     {"text/plain", body, http.StatusUnsupportedMediaType, "invalid Content-Type, expect application/json"},
		"a charset":           {"application/json; charset=utf-8", body, http.StatusUnsupportedMediaType, "invalid Content-Type"},
		"nothing":             {"application/json", nil, http.StatusBadRequest, "empty body"},
		"too much":            {"application/json", bytes.Repeat([]byte(" "), 6<<20+1), http.StatusRequestEntityTooLarge, "the body is larger than 6291456 bytes"},
		"no JSON":             {"application/json", []byte("{"), http.StatusOK, `"message":"decode the admission review: unexpected end of JSON input"`},
		"another version":     {"application/json", []byte(`{"apiVersion":"admission.k8s.io/v2","kind":"AdmissionReview"}`), http.StatusOK, `is no AdmissionReview of admission.k8s.io/v1`},
		"without a request":   {"application/json", []byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`), http.StatusOK, `the admission review has no request`},
		"a pod that is none":  {"application/json", []byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"kind":{"version":"v1","kind":"Pod"},"object":{"spec":7}}}`), http.StatusOK, `"message":"decode the pod: `},
		"a review of no pods": {"application/json", []byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"7","kind":{"version":"v1","kind":"Node"}}}`), http.StatusOK, `"response":{"uid":"7","allowed":true}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			handler, err := newWebhook().Handler()
			if err != nil {
				t.Fatal(err)
			}
			request := httptest.NewRequest(http.MethodPost, "/mutate", bytes.NewReader(test.body))
			request.Header.Set("Content-Type", test.contentType)
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			if recorder.Code != test.code || !strings.Contains(recorder.Body.String(), test.want) {
				t.Errorf("%d %s", recorder.Code, recorder.Body)
			}
		})
	}
}

// TestTable: each row has what its readers need, and its default is one of the values that it takes.
func TestTable(t *testing.T) {
	var names []string
	for _, row := range injector.Annotations() {
		if slices.Contains(names, row.Name) {
			t.Errorf("%s is there twice", row.Name)
		}
		names = append(names, row.Name)
		if row.Meaning == "" || row.Allowed == "" || row.Default == "" {
			t.Errorf("%+v lacks something", row)
		}
	}
}

// TestDocuments: the table of the documentation is the table.
func TestDocuments(t *testing.T) {
	var table strings.Builder
	table.WriteString("| annotation | default | takes | meaning |\n|---|---|---|---|\n")
	for _, row := range injector.Annotations() {
		meaning := row.Meaning
		if row.Instead != "" {
			meaning += "; out of date, write " + row.Instead
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", row.Name, row.Default, strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(row.Allowed), meaning)
	}
	const path = "../../docs/kubernetes.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	of := regexp.MustCompile(`(?s)\| annotation \| default \| takes \| meaning \|\n.*?\n\n`)
	want := of.ReplaceAllLiteralString(string(text), table.String()+"\n")
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error("-want +got (-update rewrites the file):\n" + diff)
	}
	if !strings.Contains(want, "`dapr.io/`") || !strings.Contains(want, "| `enabled` |") {
		t.Error("the table is not there")
	}
}
