package injector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/sirupsen/logrus"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxReview bounds the body of a request, in bytes: the API server takes objects of 3 MiB at most, and a review holds one
// beside who calls.
const maxReview = 6 << 20

// webhook answers the reviews of pods. Codes and order are those of Dapr 1.18.
type webhook struct {
	mesh       *Mesh
	callers    *callers
	components componentLister
	// trust gives the roots and whether mutual TLS is on, as of now.
	trust   func() (anchors string, mtls bool)
	metrics *metrics
	log     logrus.FieldLogger
}

// ServeHTTP takes an AdmissionReview, v1 or v1beta1, and gives one back.
func (w *webhook) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	w.metrics.requests.Inc()
	body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, maxReview))
	tooLarge := new(http.MaxBytesError)
	switch {
	case errors.As(err, &tooLarge):
		http.Error(response, fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit), http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		return // the caller has gone
	case len(body) == 0:
		http.Error(response, "empty body", http.StatusBadRequest)
		return
	case request.Header.Get("Content-Type") != "application/json":
		http.Error(response, "invalid Content-Type, expect application/json", http.StatusUnsupportedMediaType)
		return
	}
	answer, err := json.Marshal(w.review(request.Context(), body))
	if err != nil {
		http.Error(response, fmt.Sprintf("encode the answer: %v", err), http.StatusInternalServerError)
		return
	}
	response.Header().Set("Content-Type", "application/json")
	_, _ = response.Write(answer)
}

// review is the whole webhook on the bytes of a review.
func (w *webhook) review(ctx context.Context, body []byte) *admissionv1.AdmissionReview {
	var review admissionv1.AdmissionReview
	answer := &admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}}
	if err := decodeReview(body, &review); err != nil {
		w.metrics.failed(none, "decode")
		w.log.Errorf("An admission review cannot be read: %s", err)
		answer.Response = &admissionv1.AdmissionResponse{Result: &metav1.Status{Status: metav1.StatusFailure, Message: err.Error(), Code: http.StatusBadRequest}}
		return answer
	}
	answer.TypeMeta = review.TypeMeta
	answer.Response = w.admit(ctx, review.Request)
	answer.Response.UID = review.Request.UID
	return answer
}

func decodeReview(body []byte, review *admissionv1.AdmissionReview) error {
	if err := json.Unmarshal(body, review); err != nil {
		return fmt.Errorf("decode the admission review: %w", err)
	}
	switch version, known := strings.CutPrefix(review.APIVersion, "admission.k8s.io/"); {
	case !known || version != "v1" && version != "v1beta1" || review.Kind != "AdmissionReview":
		return fmt.Errorf("%q of %q is no AdmissionReview of admission.k8s.io/v1", review.Kind, review.APIVersion)
	case review.Request == nil:
		return errors.New("the admission review has no request")
	}
	return nil
}

// none is the app id of what has none.
const none = ""

// admit decides on one pod. Whoever is not to get a sidecar is allowed as it is.
func (w *webhook) admit(ctx context.Context, request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	allowed := &admissionv1.AdmissionResponse{Allowed: true}
	if request.Kind != (metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}) || request.SubResource != "" {
		w.metrics.failed(none, "pod_patch")
		w.log.Warnf("A review of %s is not for the injector: it is asked about pods only", request.Kind.Kind)
		return allowed
	}
	p := &pod{mesh: w.mesh, namespace: request.Namespace}
	if err := json.Unmarshal(request.Object.Raw, &p.Pod); err != nil {
		return w.refuse(p, "decode", fmt.Errorf("decode the pod: %w", err))
	}
	if request.Operation != admissionv1.Create && request.Operation != "" || injected(&p.Pod) {
		return allowed
	}
	settings, warnings, err := readSettings(p.Annotations)
	if !settings.enabled && err == nil {
		return allowed
	}
	if !w.callers.allow(&request.UserInfo) {
		w.metrics.failed(none, "caller")
		w.log.Warnf("%s gets no sidecar: it is made by %s, who is none of the allowed service accounts (ALLOWED_SERVICE_ACCOUNTS) and no administrator",
			p, request.UserInfo.Username)
		return allowed
	}
	p.settings, p.warnings = settings, warnings
	if err != nil {
		return w.refuse(p, "annotations", err)
	}
	if err := p.name(); err != nil {
		return w.refuse(p, "app_id", err)
	}
	return w.inject(ctx, p)
}

func (w *webhook) inject(ctx context.Context, p *pod) *admissionv1.AdmissionResponse {
	p.anchors, p.mtls = w.trust()
	made, err := p.patch(ctx, w.components)
	if err != nil {
		return w.refuse(p, "pod_patch", err)
	}
	text, err := made.marshal()
	if err != nil {
		return w.refuse(p, "pod_patch", err)
	}
	w.metrics.succeeded(p.appID)
	w.log.Infof("Sidecar injected into %s as %s", p, p.appID)
	for _, warning := range p.warnings {
		w.log.Warnf("%s: %s", p, warning)
	}
	kind := admissionv1.PatchTypeJSONPatch
	return &admissionv1.AdmissionResponse{Allowed: true, Patch: text, PatchType: &kind, Warnings: p.warnings}
}

// refuse has the API server deny the pod, whatever the failure policy says.
func (w *webhook) refuse(p *pod, reason string, err error) *admissionv1.AdmissionResponse {
	w.metrics.failed(p.appID, reason)
	message := strings.ReplaceAll(err.Error(), "\n", "; ")
	w.log.Errorf("%s is refused: %s", p, message)
	return &admissionv1.AdmissionResponse{Warnings: p.warnings,
		Result: &metav1.Status{Status: metav1.StatusFailure, Message: message, Reason: metav1.StatusReasonInvalid, Code: http.StatusUnprocessableEntity}}
}

// String is how a pod is called in the log.
func (p *pod) String() string {
	name := p.Name
	if name == "" {
		name = p.GenerateName + "*"
	}
	return fmt.Sprintf("pod %s/%s", p.namespace, name)
}
