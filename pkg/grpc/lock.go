package grpc

import (
	"context"
	"strings"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

// lockGroups are the methods of locks.
func lockGroups() []group {
	words := strings.Fields
	return []group{
		{key: "lock.v1alpha1", methods: words("TryLockAlpha1")},
		{key: "unlock.v1alpha1", methods: words("UnlockAlpha1")},
	}
}

// TryLockAlpha1 takes a lock if it is free.
func (h *handlers) TryLockAlpha1(ctx context.Context, req *runtimev1.TryLockRequest) (*runtimev1.TryLockResponse, error) {
	taken, err := h.blocks.Lock.TryLock(ctx, req.GetStoreName(), req.GetResourceId(), req.GetLockOwner(), int(req.GetExpiryInSeconds()))
	if err != nil {
		return nil, err
	}
	return &runtimev1.TryLockResponse{Success: taken}, nil
}

// UnlockAlpha1 frees a lock.
func (h *handlers) UnlockAlpha1(ctx context.Context, req *runtimev1.UnlockRequest) (*runtimev1.UnlockResponse, error) {
	status, err := h.blocks.Lock.Unlock(ctx, req.GetStoreName(), req.GetResourceId(), req.GetLockOwner())
	if err != nil {
		return nil, err
	}
	return &runtimev1.UnlockResponse{Status: runtimev1.UnlockResponse_Status(status)}, nil
}
