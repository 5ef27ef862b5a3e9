package apierr

import (
	"net/http"

	"google.golang.org/grpc/codes"
)

// The errors of publishing (reference: http-api B1, B2, grpc-api 3).
var (
	// PubSubNameEmpty: the call names no component.
	PubSubNameEmpty = Row{Code: "ERR_PUBSUB_EMPTY", HTTP: http.StatusNotFound, GRPC: codes.InvalidArgument,
		Format: "pubsub name is empty", Reason: "DAPR_PUBSUB_NAME_EMPTY", Rich: true}
	// PubSubNotFound: no component has that name.
	PubSubNotFound = Row{Code: "ERR_PUBSUB_NOT_FOUND", HTTP: http.StatusNotFound, GRPC: codes.InvalidArgument,
		Format: "pubsub %s is not found", Reason: "DAPR_PUBSUB_NOT_FOUND", Rich: true}
	// PubSubTopicEmpty: the call names no topic.
	PubSubTopicEmpty = Row{Code: "ERR_TOPIC_NAME_EMPTY", HTTP: http.StatusNotFound, GRPC: codes.InvalidArgument,
		Format: "topic is empty in pubsub %s", Reason: "DAPR_PUBSUB_TOPIC_NAME_EMPTY", Rich: true}
	// PubSubMetadata: the metadata of the call cannot be used.
	PubSubMetadata = Row{Code: "ERR_PUBSUB_REQUEST_METADATA", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument,
		Format: "failed deserializing metadata. Error: %s", Reason: "DAPR_PUBSUB_METADATA_DESERIALIZATION", Rich: true}
	// PubSubEvent: no CloudEvent can be made of the data.
	PubSubEvent = Row{Code: "ERR_PUBSUB_CLOUD_EVENTS_SER", HTTP: http.StatusInternalServerError, GRPC: codes.InvalidArgument,
		Format: "cannot create cloudevent", Reason: "DAPR_PUBSUB_CLOUD_EVENT_CREATION", Rich: true}
	// PubSubForbidden: the component's scopes refuse the topic.
	PubSubForbidden = Row{Code: "ERR_PUBSUB_FORBIDDEN", HTTP: http.StatusForbidden, GRPC: codes.PermissionDenied,
		Format: "topic %s is not allowed for app id %s", Reason: "DAPR_PUBSUB_FORBIDDEN", Rich: true}
	// PubSubPublish: the broker did not take the message.
	PubSubPublish = Row{Code: "ERR_PUBSUB_PUBLISH_MESSAGE", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "error when publishing to topic %s in pubsub %s: %s", Reason: "DAPR_PUBSUB_PUBLISH_MESSAGE", Rich: true}
	// PubSubEntries: the entries of a bulk publish cannot be used.
	PubSubEntries = Row{Code: "ERR_PUBSUB_EVENTS_SER", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument,
		Format: "error marshaling events to bytes for topic %s pubsub %s. error: %s", Reason: "DAPR_PUBSUB_MARSHAL_EVENTS", Rich: true}
	// PubSubEnvelope: no envelope can be made of an entry of a bulk publish.
	PubSubEnvelope = Row{Code: "ERR_PUBSUB_EVENTS_SER", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument,
		Format: "error when marshalling cloud event envelope for topic %s pubsub %s: %s", Reason: "DAPR_PUBSUB_MARSHAL_ENVELOPE", Rich: true}
	// PubSubBody: the body of a bulk publish cannot be decoded.
	PubSubBody = Row{Code: "ERR_PUBSUB_EVENTS_SER", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument,
		Format: "error when unmarshaling the request for topic %s pubsub %s: %s", Reason: "DAPR_PUBSUB_UNMARSHAL_EVENTS", Rich: true}
)
