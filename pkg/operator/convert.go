package operator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// maxReview bounds a question of the API server, in bytes: it asks for many objects at once.
const maxReview = 64 << 20

// The two versions of a Subscription.
const (
	firstVersion  = group + "/v1alpha1"
	secondVersion = group + "/v2alpha1"
)

// conversionReview is question and answer of the API server (apiextensions.k8s.io/v1).
type conversionReview struct {
	metav1.TypeMeta `json:",inline"`
	Request         *conversionRequest  `json:"request,omitempty"`
	Response        *conversionResponse `json:"response,omitempty"`
}

type conversionRequest struct {
	UID               types.UID        `json:"uid"`
	DesiredAPIVersion string           `json:"desiredAPIVersion"`
	Objects           []map[string]any `json:"objects"`
}

type conversionResponse struct {
	UID              types.UID        `json:"uid"`
	ConvertedObjects []map[string]any `json:"convertedObjects"`
	Result           metav1.Status    `json:"result"`
}

// convert is the webhook by which the API server has Subscriptions of one version made into those of the other.
func convert(w http.ResponseWriter, r *http.Request) {
	var review conversionReview
	decoder := json.NewDecoder(io.LimitReader(r.Body, maxReview))
	decoder.UseNumber() // a float would not hold all digits
	err := decoder.Decode(&review)
	if err == nil && review.Request == nil {
		err = errors.New("there is none")
	}
	if err != nil {
		http.Error(w, fmt.Sprintf("want a ConversionReview with a request: %v", err), http.StatusBadRequest)
		return
	}
	review.Response = review.Request.answer()
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(&review) // a caller that is gone needs no answer
}

func (r *conversionRequest) answer() *conversionResponse {
	answer := &conversionResponse{UID: r.UID, ConvertedObjects: []map[string]any{}, Result: metav1.Status{Status: metav1.StatusSuccess}}
	for _, object := range r.Objects {
		if err := convertSubscription(object, r.DesiredAPIVersion); err != nil {
			answer.ConvertedObjects = nil
			answer.Result = metav1.Status{Status: metav1.StatusFailure, Message: err.Error()}
			break
		}
		answer.ConvertedObjects = append(answer.ConvertedObjects, object)
	}
	return answer
}

// convertSubscription makes the object one of that version: route and routes.default are the same. Rules have no place in
// the first version.
func convertSubscription(object map[string]any, version string) error {
	from, kind := object["apiVersion"], object["kind"]
	if kind != subscriptions.name {
		return fmt.Errorf("objects of kind %v have no other version", kind)
	}
	spec, _ := object["spec"].(map[string]any)
	switch {
	case from == version:
	case from == firstVersion && version == secondVersion:
		if route, found := spec["route"]; found {
			delete(spec, "route")
			spec["routes"] = map[string]any{"default": route}
		}
	case from == secondVersion && version == firstVersion:
		routes, _ := spec["routes"].(map[string]any)
		if route, found := routes["default"]; found {
			spec["route"] = route
		}
		delete(spec, "routes")
	default:
		return fmt.Errorf("a Subscription of %v cannot be made one of %s; the versions are %s and %s", from, version, firstVersion, secondVersion)
	}
	object["apiVersion"] = version
	return nil
}
