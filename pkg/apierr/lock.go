package apierr

import (
	"net/http"

	"google.golang.org/grpc/codes"
)

// The errors of locks (reference: http-api B2, grpc-api 7). None has details.
var (
	// LockNotConfigured: no store is loaded at all.
	LockNotConfigured = Row{Code: "ERR_LOCK_STORE_NOT_CONFIGURED", HTTP: http.StatusInternalServerError, GRPC: codes.FailedPrecondition,
		Format: "lock store is not configured"}
	// LockNotFound: stores are loaded, but none of that name.
	LockNotFound = Row{Code: "ERR_LOCK_STORE_NOT_FOUND", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument, Format: "lock store %s not found"}
	// LockTry: the resource cannot be locked, or the store failed.
	LockTry = Row{Code: "ERR_TRY_LOCK", HTTP: http.StatusInternalServerError, GRPC: codes.Internal, Format: "failed to try acquiring lock: %s"}
	// LockRelease: the resource cannot be locked, or the store failed.
	LockRelease = Row{Code: "ERR_UNLOCK", HTTP: http.StatusInternalServerError, GRPC: codes.Internal, Format: "failed to release lock: %s"}
)
