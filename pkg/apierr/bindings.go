package apierr

import (
	"net/http"

	"google.golang.org/grpc/codes"
)

// The errors of bindings (reference: http-api A4 and B1, grpc-api 5).
var (
	// InvokeOutputBinding is every failure of a request to an output binding: the name and what went wrong.
	InvokeOutputBinding = Row{Code: "ERR_INVOKE_OUTPUT_BINDING", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "error invoking output binding %s: %s", Reason: "ERR_INVOKE_OUTPUT_BINDING"}
)
