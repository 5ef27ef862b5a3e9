package apierr

import (
	"net/http"

	"google.golang.org/grpc/codes"
)

// The errors of cryptography (reference: http-api B2, grpc-api 9). None has details.
var (
	// BadRequest is a request that lacks something or holds what cannot be used.
	BadRequest = Row{Code: "ERR_BAD_REQUEST", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument, Format: "invalid request: %s"}
	// CryptoNotConfigured: no provider is loaded at all.
	CryptoNotConfigured = Row{Code: "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "crypto providers not configured"}
	// CryptoNotFound: providers are loaded, but none of that name.
	CryptoNotFound = Row{Code: "ERR_CRYPTO_PROVIDER_NOT_FOUND", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument,
		Format: "crypto provider %s not found"}
	// CryptoKey: the provider did not give a public key.
	CryptoKey = Row{Code: "ERR_CRYPTO_KEY", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "failed to retrieve key %s: %v"}
	// Crypto: the operation failed.
	Crypto = Row{Code: "ERR_CRYPTO", HTTP: http.StatusInternalServerError, GRPC: codes.Internal, Format: "failed to perform operation: %v"}
)
