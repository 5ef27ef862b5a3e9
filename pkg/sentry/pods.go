package sentry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/daprd/daprd/pkg/cluster"
	sentryv1 "github.com/daprd/daprd/pkg/proto/sentry/v1"
)

// Annotations of pods.
const (
	annotationAppID        = "dapr.io/app-id"
	annotationConfig       = "dapr.io/config"
	annotationControlPlane = "dapr.io/control-plane"
)

// legacyAudience is what tokens may be for in place of sentry's SPIFFE ID.
const legacyAudience = "dapr.io/sentry"

// pods believes the token of a pod's service account: the API server says whether it is one, the pod who it is. Texts
// and their order are those of Dapr 1.18.
type pods struct {
	cluster *cluster.Client
	own     identity
}

// pod is what counts of one.
type pod struct {
	Metadata struct {
		Name        string            `json:"name"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		ServiceAccountName string `json:"serviceAccountName"`
	} `json:"spec"`
}

// account is whom a token is of.
type account struct{ namespace, name, pod string }

func (v *pods) validate(ctx context.Context, request *sentryv1.SignCertificateRequest) (none spiffeid.TrustDomain, err error) {
	who, err := v.review(ctx, request.GetToken())
	if err != nil {
		return none, err
	}
	var found pod
	if err := v.cluster.Get(ctx, &found, "api", "v1", "namespaces", who.namespace, "pods", who.pod); err != nil {
		return none, judged("failed to get pod of identity", err)
	}
	switch {
	case who.namespace != request.GetNamespace():
		return none, fmt.Errorf("namespace mismatch; received namespace: %s", request.GetNamespace())
	case found.Spec.ServiceAccountName != who.name:
		return none, errors.New("pod service account mismatch")
	}
	expected, controlPlane, err := v.expected(&found, who.namespace)
	switch {
	case err != nil:
		return none, err
	case expected != request.GetId():
		return none, fmt.Errorf("app-id mismatch. expected: %s, received: %s", expected, request.GetId())
	case controlPlane:
		return v.own.id.TrustDomain(), nil
	}
	return v.trustDomain(ctx, found.Metadata.Annotations[annotationConfig], who.namespace)
}

// judged is the text for one who asks, which tells apart what was decided and what could not be found out.
func judged(text string, err error) error {
	if cluster.Denied(err) {
		return fmt.Errorf("%s: %w", text, err)
	}
	return fmt.Errorf("%w: %s: %w", errUnavailable, text, err)
}

// tokenReview is the question, and the answer, whether a token is valid.
type tokenReview struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		Token     string   `json:"token"`
		Audiences []string `json:"audiences"`
	} `json:"spec"`
	Status struct {
		Authenticated bool   `json:"authenticated"`
		Error         string `json:"error"`
		User          struct {
			Username string `json:"username"`
		} `json:"user"`
	} `json:"status"`
}

func (v *pods) review(ctx context.Context, token string) (who account, err error) {
	if token == "" {
		return who, errors.New("the request does not contain a token")
	}
	review := tokenReview{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview"}
	review.Spec.Token, review.Spec.Audiences = token, []string{legacyAudience, v.own.id.String()}
	var answer tokenReview
	if err := v.cluster.Do(ctx, http.MethodPost, review, &answer, "apis", "authentication.k8s.io", "v1", "tokenreviews"); err != nil {
		return who, judged("token review failed", err)
	}
	switch {
	case answer.Status.Error != "":
		return who, fmt.Errorf("invalid token: %s", answer.Status.Error)
	case !answer.Status.Authenticated:
		return who, errors.New("authentication failed")
	}
	name := strings.Split(answer.Status.User.Username, ":")
	if len(name) != 4 || name[0] != "system" {
		return who, errors.New("provided token is not a properly structured service account token")
	}
	who = account{namespace: name[2], name: name[3]}
	who.pod, err = podOf(token)
	return who, err
}

// podOf reads the claim kubernetes.io.pod.name of a token that the API server has found valid.
func podOf(token string) (string, error) {
	var claims struct {
		Kubernetes struct {
			Pod struct {
				Name string `json:"name"`
			} `json:"pod"`
		} `json:"kubernetes.io"`
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errors.New("the token is no JWT")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return "", errors.New("the token is no JWT")
	}
	if claims.Kubernetes.Pod.Name == "" {
		return "", errors.New("kubernetes.io/pod/name claim is missing from Kubernetes token")
	}
	return claims.Kubernetes.Pod.Name, nil
}

// expected is the app ID that a pod may have; controlPlane says that it is a part of the control plane.
func (v *pods) expected(p *pod, namespace string) (id string, controlPlane bool, err error) {
	appID, hasAppID := p.Metadata.Annotations[annotationAppID]
	service := p.Metadata.Annotations[annotationControlPlane]
	switch {
	case service != "" && namespace == v.own.namespace && hasAppID:
		return "", true, fmt.Errorf("the pod is part of the control plane (%s: %s) and must not have the annotation %s", annotationControlPlane, service, annotationAppID)
	case service != "" && namespace == v.own.namespace:
		return "dapr-" + service, true, nil
	case hasAppID:
		return appID, false, nil
	}
	return p.Metadata.Name, false, nil
}

// trustDomain is that of the pod's Configuration.
func (v *pods) trustDomain(ctx context.Context, name, namespace string) (spiffeid.TrustDomain, error) {
	if name == "" {
		return trustDomain("")
	}
	found, err := v.cluster.Configuration(ctx, namespace, name)
	if err != nil {
		return spiffeid.TrustDomain{}, judged("failed to get configuration", err)
	}
	return trustDomain(found.Spec.AccessControl.TrustDomain)
}
