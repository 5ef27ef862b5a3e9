package v2alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/daprd/daprd/pkg/operator/api/v1alpha1"
)

// Subscription brings the messages of a topic to the application, on paths that rules choose.
//
// +kubebuilder:resource:path=subscriptions
// +kubebuilder:storageversion
type Subscription struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   SubscriptionSpec `json:"spec"`
	Scopes v1alpha1.Scopes  `json:"scopes,omitempty"`
}

// SubscriptionSpec is a topic and where its messages go.
type SubscriptionSpec struct {
	// The name of the pub/sub component.
	//
	// +kubebuilder:validation:MinLength=1
	PubSubName string `json:"pubsubname"`
	// +kubebuilder:validation:MinLength=1
	Topic  string `json:"topic"`
	Routes Routes `json:"routes"`
	// Settings for the component.
	Metadata map[string]string `json:"metadata,omitempty"`
	// The topic that takes what the application does not want or cannot handle.
	DeadLetterTopic string                 `json:"deadLetterTopic,omitempty"`
	BulkSubscribe   v1alpha1.BulkSubscribe `json:"bulkSubscribe,omitempty"`
}

// Routes are the paths of the application that messages are brought to: that of the first rule that matches, or else the
// default.
//
// +kubebuilder:validation:XValidation:rule="(has(self.default) && size(self.default) > 0) || (has(self.rules) && size(self.rules) > 0)",message="want a default path, or rules: without either no message goes anywhere"
type Routes struct {
	Rules   []Rule `json:"rules,omitempty"`
	Default string `json:"default,omitempty"`
}

// Rule leads messages to a path.
type Rule struct {
	// A CEL expression over event, event.type == "order" for one; without it every message matches.
	Match string `json:"match,omitempty"`
	// +kubebuilder:validation:MinLength=1
	Path string `json:"path"`
}
