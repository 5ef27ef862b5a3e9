package apierr

import (
	"net/http"

	"google.golang.org/grpc/codes"
)

// The errors of configuration (reference: http-api B2, grpc-api 7).
var (
	// ConfigurationNotConfigured: no store is loaded at all.
	ConfigurationNotConfigured = Row{Code: "ERR_CONFIGURATION_STORE_NOT_CONFIGURED", HTTP: http.StatusInternalServerError, GRPC: codes.FailedPrecondition,
		Format: "configuration stores not configured", Reason: "ERR_CONFIGURATION_STORE_NOT_CONFIGURED"}
	// ConfigurationNotFound: stores are loaded, but none of that name.
	ConfigurationNotFound = Row{Code: "ERR_CONFIGURATION_STORE_NOT_FOUND", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument,
		Format: "configuration store %s not found", Reason: "ERR_CONFIGURATION_STORE_NOT_FOUND"}
	// ConfigurationGet: the store failed.
	ConfigurationGet = Row{Code: "ERR_CONFIGURATION_GET", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "failed to get %s from Configuration store %s: %v", Reason: "ERR_CONFIGURATION_GET"}
	// ConfigurationSubscribe: the store did not take the subscription.
	ConfigurationSubscribe = Row{Code: "ERR_CONFIGURATION_SUBSCRIBE", HTTP: http.StatusInternalServerError, GRPC: codes.InvalidArgument,
		Format: "failed to subscribe %s from Configuration store %s: %v", Reason: "ERR_CONFIGURATION_SUBSCRIBE"}
	// ConfigurationNoApp: nobody would get the updates.
	ConfigurationNoApp = Row{Code: "ERR_APP_CHANNEL_NIL", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "app channel is not initialized. cannot subscribe to configuration updates"}
)
