package grpc

import (
	"context"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

// GetSecret reads one secret.
func (h *handlers) GetSecret(ctx context.Context, req *runtimev1.GetSecretRequest) (*runtimev1.GetSecretResponse, error) {
	values, err := h.blocks.Secrets.Secret(ctx, req.GetStoreName(), req.GetKey(), req.GetMetadata())
	if err != nil {
		return nil, err
	}
	return &runtimev1.GetSecretResponse{Data: validTexts(values)}, nil
}

// GetBulkSecret reads every secret that the application may have.
func (h *handlers) GetBulkSecret(ctx context.Context, req *runtimev1.GetBulkSecretRequest) (*runtimev1.GetBulkSecretResponse, error) {
	secrets, err := h.blocks.Secrets.All(ctx, req.GetStoreName(), req.GetMetadata())
	if err != nil {
		return nil, err
	}
	answer := &runtimev1.GetBulkSecretResponse{Data: make(map[string]*runtimev1.SecretResponse, len(secrets))}
	for name, values := range secrets {
		answer.Data[validText(name)] = &runtimev1.SecretResponse{Secrets: validTexts(values)}
	}
	return answer, nil
}
