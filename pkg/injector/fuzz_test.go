package injector_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/daprd/daprd/pkg/injector"
)

// FuzzReview: any bytes have an answer or a clear refusal. A patch applies, leaves the pod's containers there, and adds one
// sidecar; asked again, the injector leaves the pod alone.
func FuzzReview(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}`))
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"kind":{"version":"v1","kind":"Pod"},"object":null}}`))
	native := podWith(map[string]string{"dapr.io/enabled": "true", "dapr.io/app-id": "a", "dapr.io/enable-native-sidecar": "true", "dapr.io/volume-mounts": "v:/v"})
	native.Spec.Volumes = []corev1.Volume{{Name: "v"}}
	native.Spec.InitContainers = []corev1.Container{{Name: "first"}}
	for _, pod := range []*corev1.Pod{podWith(map[string]string{"dapr.io/enabled": "true"}), podWith(map[string]string{"dapr.io/enabled": "yes", "dapr.io/app-id": "a",
		"dapr.io/inject-pluggable-components": "true", "dapr.io/pluggable-components": "node", "dapr.io/unix-domain-socket-path": "/s"}), native} {
		text, err := json.Marshal(reviewOf(f, pod))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	w := newWebhook()
	w.Components = []byte(`[{"metadata":{"name":"store","annotations":{"dapr.io/component-container":"{\"image\":\"store\"}"}}}]`)
	handler, err := w.Handler()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		request := httptest.NewRequest(http.MethodPost, "/mutate", bytes.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		if recorder.Code != http.StatusOK {
			if recorder.Code != http.StatusBadRequest || len(body) > 0 {
				t.Errorf("%d %s", recorder.Code, recorder.Body)
			}
			return
		}
		var answer, asked admissionv1.AdmissionReview
		if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil || answer.Response == nil || answer.Kind != "AdmissionReview" {
			t.Fatalf("%s: %v", recorder.Body, err)
		}
		if !answer.Response.Allowed {
			if answer.Response.Result == nil || answer.Response.Result.Message == "" || answer.Response.Patch != nil {
				t.Errorf("a refusal without a reason, or with a patch: %s", recorder.Body)
			}
			return
		}
		if answer.Response.Patch == nil {
			return
		}
		if err := json.Unmarshal(body, &asked); err != nil {
			t.Fatal(err)
		}
		injected(t, w, &asked, answer.Response.Patch)
	})
}

// injected checks what a patch makes of a pod.
func injected(t *testing.T, w *injector.Webhook, asked *admissionv1.AdmissionReview, patch []byte) {
	t.Helper()
	var before corev1.Pod
	if err := json.Unmarshal(asked.Request.Object.Raw, &before); err != nil {
		t.Fatal(err)
	}
	// The API server sends what it has read: names in their own case, no field twice.
	plain, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatal(err)
	}
	patched, err := steps.Apply(plain)
	if err != nil {
		t.Fatalf("%s does not apply to %s: %v", patch, plain, err)
	}
	var after corev1.Pod
	if err := json.Unmarshal(patched, &after); err != nil {
		t.Fatal(err)
	}
	if len(after.Spec.Containers)+len(after.Spec.InitContainers) <= len(before.Spec.Containers)+len(before.Spec.InitContainers) {
		t.Errorf("%s has no more containers than before", patched)
	}
	for i, c := range before.Spec.Containers {
		if after.Spec.Containers[i].Name != c.Name || after.Spec.Containers[i].Image != c.Image {
			t.Errorf("container %s became %s", c.Name, after.Spec.Containers[i].Name)
		}
	}
	for name, value := range after.Labels {
		if faults := validation.IsValidLabelValue(value); len(faults) > 0 && before.Labels[name] != value {
			t.Errorf("label %s: %q: %v", name, value, faults)
		}
	}
	asked.Request.Object.Raw = patched
	if again := ask(t, w, asked).Response; !again.Allowed || again.Patch != nil {
		t.Errorf("the second time: %+v", again)
	}
}

// FuzzAnnotations: any value of any annotation is taken or refused with its name; a sidecar that comes of it is one that the API server
// takes: mounts at different places, names of variables and ports that are allowed.
func FuzzAnnotations(f *testing.F) {
	rows := injector.Annotations()
	for i := range rows {
		f.Add(uint8(i), []string{"true", "a:/a,b:/b", `A=b, C="d,e" ,F=g:h`, "1.5Gi", "30s", "[::1]:80,h:1"}[i%6])
	}
	f.Fuzz(func(t *testing.T, row uint8, value string) {
		name := "dapr.io/" + rows[int(row)%len(rows)].Name
		annotations := map[string]string{"dapr.io/enabled": "true", "dapr.io/app-id": "a"}
		annotations[name] = value
		pod := podWith(annotations)
		for _, v := range []string{"a", "b"} {
			pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: v})
		}
		w, review := newWebhook(), reviewOf(t, pod)
		answer := ask(t, w, review).Response
		if !answer.Allowed {
			if !strings.Contains(answer.Result.Message, name) {
				t.Errorf("%s: %q is refused with %q", name, value, answer.Result.Message)
			}
			return
		}
		if answer.Patch == nil {
			return
		}
		made := apply(t, review.Request.Object.Raw, answer.Patch)
		injected(t, w, review, answer.Patch)
		for _, c := range append(made.Spec.InitContainers, made.Spec.Containers...) {
			if c.Name == "daprd" {
				valid(t, &c)
			}
		}
	})
}

func valid(t *testing.T, c *corev1.Container) {
	t.Helper()
	places, ports := map[string]bool{}, map[int32]bool{}
	for _, m := range c.VolumeMounts {
		if places[m.MountPath] || m.MountPath == "" || strings.Contains(m.MountPath, ":") {
			t.Errorf("a second mount, or a bad one, at %q", m.MountPath)
		}
		places[m.MountPath] = true
	}
	for _, p := range c.Ports {
		if ports[p.ContainerPort] || len(validation.IsValidPortNum(int(p.ContainerPort))) > 0 {
			t.Errorf("port %d twice, or not allowed", p.ContainerPort)
		}
		ports[p.ContainerPort] = true
	}
	for _, e := range c.Env {
		if len(validation.IsRelaxedEnvVarName(e.Name)) > 0 { // one that is there twice has its last value
			t.Errorf("variable %q is not allowed", e.Name)
		}
	}
	for name, quantity := range c.Resources.Limits {
		if request, found := c.Resources.Requests[name]; found && request.Cmp(quantity) > 0 {
			t.Errorf("%s: more is requested than the limit", name)
		}
	}
	if c.Image == "" || strings.TrimSpace(c.Image) != c.Image {
		t.Errorf("image %q", c.Image)
	}
}
