package apierr

import (
	"net/http"

	"google.golang.org/grpc/codes"
)

// The table. Codes, statuses and texts are those that Dapr 1.18 answers (reference: http-api part B and
// grpc-api); SDKs read them.
var (
	// Uncategorised is every error that no row knows.
	Uncategorised = Row{Code: "ERROR", HTTP: http.StatusInternalServerError, GRPC: codes.Unknown, Format: "%v"}
	// Unimplemented answers the parts of the API that this sidecar does not have yet.
	Unimplemented = Row{Code: "ERR_API_UNIMPLEMENTED", HTTP: http.StatusNotImplemented, GRPC: codes.Unimplemented,
		Format: "the %s API is not implemented by this daprd yet; see the table \"what works today\" in its README"}
	// MalformedRequest is a body or parameter that cannot be decoded.
	MalformedRequest = Row{Code: "ERR_MALFORMED_REQUEST", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument, Format: "%s"}
	// MalformedBody is a body that cannot be decoded.
	MalformedBody = Row{Code: "ERR_MALFORMED_REQUEST", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument,
		Format: "failed deserializing HTTP body: %s"}
	// BodyRead is a body that could not be read whole: over the limit, or cut off.
	BodyRead = Row{Code: "ERR_BODY_READ", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument,
		Format: "failed to read request body: %s"}

	// HealthNotReady answers the health endpoints while a target is not ready.
	HealthNotReady = Row{Code: "ERR_HEALTH_NOT_READY", HTTP: http.StatusInternalServerError, GRPC: codes.Unavailable,
		Format: "dapr is not ready: %s"}
	// HealthAppID answers a health check that asks for another app id.
	HealthAppID = Row{Code: "ERR_HEALTH_APPID_NOT_MATCH", HTTP: http.StatusInternalServerError, GRPC: codes.FailedPrecondition,
		Format: "dapr app-id does not match"}
	// OutboundNotReady answers the outbound health endpoint before the servers listen.
	OutboundNotReady = Row{Code: "ERR_OUTBOUND_HEALTH_NOT_READY", HTTP: http.StatusInternalServerError, GRPC: codes.Unavailable,
		Format: "dapr outbound is not ready"}

	// StateStoreNotConfigured: no state store is loaded at all.
	StateStoreNotConfigured = Row{Code: "ERR_STATE_STORE_NOT_CONFIGURED", HTTP: http.StatusInternalServerError, GRPC: codes.FailedPrecondition,
		Format: "state store %s is not configured", Reason: "DAPR_STATE_NOT_CONFIGURED", Rich: true}
	// StateStoreNotFound: stores are loaded, but none of that name.
	StateStoreNotFound = Row{Code: "ERR_STATE_STORE_NOT_FOUND", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument,
		Format: "state store %s is not found", Reason: "DAPR_STATE_NOT_FOUND", Rich: true}
	// StateIllegalKey: a key that holds the separator of prefix and key.
	StateIllegalKey = Row{Code: "ERR_MALFORMED_REQUEST", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument,
		Format: "input key/keyPrefix '%s' can't contain '||'", Reason: "DAPR_STATE_ILLEGAL_KEY", Rich: true,
		HTTPPrefix: "api error: code = InvalidArgument desc = "}
	// StateKeyEmpty: an item without a key.
	StateKeyEmpty = Row{Code: "ERR_MALFORMED_REQUEST", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument,
		Format: "state key cannot be empty", Reason: "ERR_STATE_SAVE", HTTPText: `"key" is a required field`}
	// StateGet: the store or the decryption failed.
	StateGet = Row{Code: "ERR_STATE_GET", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "fail to get %s from state store %s: %s", Reason: "ERR_STATE_GET"}
	// StateBulkGet: the store failed as a whole.
	StateBulkGet = Row{Code: "ERR_STATE_BULK_GET", HTTP: http.StatusInternalServerError, GRPC: codes.Unknown, Format: "%s"}
	// StateSave: the store failed.
	StateSave = Row{Code: "ERR_STATE_SAVE", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "failed saving state in state store %s: %s", Reason: "ERR_STATE_SAVE"}
	// StateDelete: the store failed.
	StateDelete = Row{Code: "ERR_STATE_DELETE", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "failed deleting state with key %s: %s", Reason: "ERR_STATE_DELETE"}
	// StateBulkDelete: the store failed.
	StateBulkDelete = Row{Code: "ERR_STATE_BULK_DELETE", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "failed deleting state in state store %s: %s", Reason: "ERR_STATE_BULK_DELETE"}
	// StateTransactionsNotSupported: the store cannot do several operations at once.
	StateTransactionsNotSupported = Row{Code: "ERR_STATE_STORE_NOT_SUPPORTED", HTTP: http.StatusInternalServerError, GRPC: codes.Unimplemented,
		Format: "state store %s doesn't support transactions", Reason: "DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED", Rich: true}
	// StateOperationNotSupported: an operation other than upsert and delete.
	StateOperationNotSupported = Row{Code: "ERR_NOT_SUPPORTED_STATE_OPERATION", HTTP: http.StatusBadRequest, GRPC: codes.Unimplemented,
		Format: "operation type %s not supported", Reason: "ERR_NOT_SUPPORTED_STATE_OPERATION"}
	// StateTooManyOperations: more operations than the store takes in one transaction.
	StateTooManyOperations = Row{Code: "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument,
		Format: "the transaction contains %d operations, which is more than what the state store supports: %d",
		Reason: "DAPR_STATE_TOO_MANY_TRANSACTIONS", Rich: true}
	// StateTooManyItems: more keys, items or operations than one request may have.
	StateTooManyItems = Row{Code: "ERR_MALFORMED_REQUEST", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument,
		Format: "the request holds more than %d items; send several requests"}
	// StateTransaction: the store or the encryption failed.
	StateTransaction = Row{Code: "ERR_STATE_TRANSACTION", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "error while executing state transaction: %s", Reason: "ERR_STATE_TRANSACTION"}
	// StateOutbox: what a transaction writes could not be handed to the outbox, so that nothing was stored.
	StateOutbox = Row{Code: "ERR_PUBLISH_OUTBOX", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "error while publishing outbox message: %s", Reason: "DAPR_PUBSUB_OUTBOX", Rich: true}
	// StateQueryNotSupported: the store cannot be queried.
	StateQueryNotSupported = Row{Code: "ERR_STATE_STORE_NOT_SUPPORTED", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "state store does not support querying", Reason: "DAPR_STATE_QUERYING_NOT_SUPPORTED", Rich: true}
	// StateQuery: the query cannot be used, or the store failed.
	StateQuery = Row{Code: "ERR_STATE_QUERY", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "state store %s query failed: %s", Reason: "DAPR_STATE_QUERY_FAILED", Rich: true}

	// SecretStoresNotConfigured: no secret store is loaded at all.
	SecretStoresNotConfigured = Row{Code: "ERR_SECRET_STORES_NOT_CONFIGURED", HTTP: http.StatusInternalServerError, GRPC: codes.FailedPrecondition,
		Format: "secret store is not configured"}
	// SecretStoreNotFound: stores are loaded, but none of that name (HTTP answers 401, as Dapr does).
	SecretStoreNotFound = Row{Code: "ERR_SECRET_STORE_NOT_FOUND", HTTP: http.StatusUnauthorized, GRPC: codes.InvalidArgument,
		Format: "failed finding secret store with key %s"}
	// SecretDenied: the Configuration's secret scopes refuse it.
	SecretDenied = Row{Code: "ERR_PERMISSION_DENIED", HTTP: http.StatusForbidden, GRPC: codes.PermissionDenied,
		Format: "access denied by policy to get %q from %q"}
	// SecretGet: the store failed.
	SecretGet = Row{Code: "ERR_SECRET_GET", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "failed getting secret with key %s from secret store %s: %s"}
	// SecretBulkGet: the store failed.
	SecretBulkGet = Row{Code: "ERR_SECRET_GET", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "failed getting secrets from secret store %s: %s"}

	// InvokeNoAppID: neither path nor headers name a target; also what an unknown route answers.
	InvokeNoAppID = Row{Code: "ERR_DIRECT_INVOKE", HTTP: http.StatusNotFound, GRPC: codes.Internal,
		Format: "failed getting app id either from the URL path or the header dapr-app-id"}
	// InvokeNotReady: messaging does not exist yet.
	InvokeNotReady = Row{Code: "ERR_DIRECT_INVOKE", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "invoke API is not ready"}
	// Invoke: the call could not be made or brought no answer.
	Invoke = Row{Code: "ERR_DIRECT_INVOKE", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "failed to invoke, id: %s, err: %v"}
	// InvokeDenied: the callee's access control refused the call.
	InvokeDenied = Row{Code: "ERR_DIRECT_INVOKE", HTTP: http.StatusForbidden, GRPC: codes.Internal,
		Format: "failed to invoke, id: %s, err: %v"}

	// TooManyAttributes: callers have set as many metadata attributes as are kept.
	TooManyAttributes = Row{Code: "ERR_MALFORMED_REQUEST", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument,
		Format: "there are %d metadata attributes already, and no more are kept; use fewer keys"}
	// AttributesTooLarge: the metadata attributes of all callers hold as many bytes as are kept.
	AttributesTooLarge = Row{Code: "ERR_MALFORMED_REQUEST", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument,
		Format: "the metadata attributes would hold more than %d bytes together, and no more are kept; use shorter values"}
	// MetadataGet: the metadata could not be put together.
	MetadataGet = Row{Code: "ERR_METADATA_GET", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "failed deserializing metadata: %s"}
)

// ETagMismatch is the row of a write that lost against another writer.
func (r Row) ETagMismatch() Row { return r.As(http.StatusConflict, codes.Aborted) }

// ETagInvalid is the row of a write with an entity tag that the store can never have given.
func (r Row) ETagInvalid() Row { return r.As(http.StatusBadRequest, codes.InvalidArgument) }
