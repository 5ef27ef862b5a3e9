package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Subscription brings the messages of a topic to the application, on one path. Version v2alpha1 has rules as well.
//
// +kubebuilder:resource:path=subscriptions
type Subscription struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   SubscriptionSpec `json:"spec"`
	Scopes Scopes           `json:"scopes,omitempty"`
}

// SubscriptionSpec is a topic and where its messages go.
type SubscriptionSpec struct {
	// The name of the pub/sub component.
	//
	// +kubebuilder:validation:MinLength=1
	PubSubName string `json:"pubsubname"`
	// +kubebuilder:validation:MinLength=1
	Topic string `json:"topic"`
	// The path of the application that messages are brought to.
	//
	// +kubebuilder:validation:MinLength=1
	Route string `json:"route"`
	// Settings for the component.
	Metadata map[string]string `json:"metadata,omitempty"`
	// The topic that takes what the application does not want or cannot handle.
	DeadLetterTopic string        `json:"deadLetterTopic,omitempty"`
	BulkSubscribe   BulkSubscribe `json:"bulkSubscribe,omitempty"`
}

// BulkSubscribe asks for several messages in one call.
type BulkSubscribe struct {
	Enabled bool `json:"enabled"`
	// The most messages of a call, 100 without it.
	//
	// +kubebuilder:validation:Minimum=0
	MaxMessagesCount int32 `json:"maxMessagesCount,omitempty"`
	// How many milliseconds the first message waits for others, 1000 without it.
	//
	// +kubebuilder:validation:Minimum=0
	MaxAwaitDurationMs int32 `json:"maxAwaitDurationMs,omitempty"`
}
