package grpc

import (
	"context"
	"encoding/base64"
	"time"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/daprd/daprd/pkg/actors/reminders"
	"github.com/daprd/daprd/pkg/actors/timers"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

// callbackData is the data of a reminder or timer as a JSON value: gRPC callers give bytes, which are base64 in a string
// then, as in Dapr.
func callbackData(data []byte) []byte {
	if len(data) == 0 {
		return nil
	}
	text := make([]byte, 0, base64.StdEncoding.EncodedLen(len(data))+2)
	return append(base64.StdEncoding.AppendEncode(append(text, '"'), data), '"')
}

// RegisterActorTimer starts a timer.
func (h *handlers) RegisterActorTimer(_ context.Context, req *runtimev1.RegisterActorTimerRequest) (*emptypb.Empty, error) {
	return done(h.blocks.Actors.CreateTimer(&timers.Timer{ActorType: req.GetActorType(), ActorID: req.GetActorId(), Name: req.GetName(),
		Callback: req.GetCallback(), Data: callbackData(req.GetData()), DueTime: req.GetDueTime(), Period: req.GetPeriod(), TTL: req.GetTtl()}))
}

// UnregisterActorTimer ends a timer.
func (h *handlers) UnregisterActorTimer(_ context.Context, req *runtimev1.UnregisterActorTimerRequest) (*emptypb.Empty, error) {
	return done(h.blocks.Actors.DeleteTimer(req.GetActorType(), req.GetActorId(), req.GetName()))
}

// RegisterActorReminder registers a reminder.
func (h *handlers) RegisterActorReminder(ctx context.Context, req *runtimev1.RegisterActorReminderRequest) (*emptypb.Empty, error) {
	return done(h.blocks.Actors.CreateReminder(ctx, &reminders.Reminder{ActorType: req.GetActorType(), ActorID: req.GetActorId(), Name: req.GetName(),
		Data: callbackData(req.GetData()), DueTime: req.GetDueTime(), Period: req.GetPeriod(), TTL: req.GetTtl(),
		Failure: failureOf(req.GetFailurePolicy())}, req.Overwrite == nil || req.GetOverwrite()))
}

func failureOf(policy *commonv1.JobFailurePolicy) *reminders.Failure {
	switch {
	case policy.GetDrop() != nil:
		return &reminders.Failure{}
	case policy.GetConstant() == nil:
		return nil
	}
	failure := &reminders.Failure{Interval: policy.GetConstant().GetInterval().AsDuration(), Retries: -1}
	if policy.GetConstant().MaxRetries != nil {
		failure.Retries = int(policy.GetConstant().GetMaxRetries())
	}
	return failure
}

// GetActorReminder reads a reminder.
func (h *handlers) GetActorReminder(ctx context.Context, req *runtimev1.GetActorReminderRequest) (*runtimev1.GetActorReminderResponse, error) {
	found, err := h.blocks.Actors.GetReminder(ctx, req.GetActorType(), req.GetActorId(), req.GetName())
	if err != nil {
		return nil, err
	}
	r, err := reminderOf(found)
	if err != nil {
		return nil, err
	}
	return &runtimev1.GetActorReminderResponse{ActorType: r.ActorType, ActorId: r.ActorId, DueTime: r.DueTime, Period: r.Period, Data: r.Data, Ttl: r.Ttl}, nil
}

// reminderOf is a reminder as answers show it: what is empty is not set.
func reminderOf(r *reminders.Reminder) (*runtimev1.ActorReminder, error) {
	answer := &runtimev1.ActorReminder{ActorType: r.ActorType, ActorId: r.ActorID}
	if r.DueTime != "" {
		answer.DueTime = &r.DueTime
	}
	if r.Period != "" {
		answer.Period = &r.Period
	}
	if !r.Expires.IsZero() {
		answer.Ttl = new(r.Expires.UTC().Format(time.RFC3339Nano))
	}
	var err error
	if len(r.Data) > 0 {
		answer.Data, err = anypb.New(wrapperspb.Bytes(r.Data))
	}
	return answer, err
}

// ListActorReminders reads the reminders of an actor, or of a type.
func (h *handlers) ListActorReminders(ctx context.Context, req *runtimev1.ListActorRemindersRequest) (*runtimev1.ListActorRemindersResponse, error) {
	all, err := h.blocks.Actors.ListReminders(ctx, req.GetActorType(), req.GetActorId())
	if err != nil {
		return nil, err
	}
	answer := &runtimev1.ListActorRemindersResponse{}
	for _, found := range all {
		r, err := reminderOf(found)
		if err != nil {
			return nil, err
		}
		answer.Reminders = append(answer.Reminders, &runtimev1.NamedActorReminder{Name: found.Name, Reminder: r})
	}
	return answer, nil
}

// UnregisterActorReminder ends a reminder.
func (h *handlers) UnregisterActorReminder(ctx context.Context, req *runtimev1.UnregisterActorReminderRequest) (*emptypb.Empty, error) {
	return done(h.blocks.Actors.DeleteReminder(ctx, req.GetActorType(), req.GetActorId(), req.GetName()))
}

// UnregisterActorRemindersByType ends the reminders of an actor, or of a type.
func (h *handlers) UnregisterActorRemindersByType(ctx context.Context, req *runtimev1.UnregisterActorRemindersByTypeRequest) (*runtimev1.UnregisterActorRemindersByTypeResponse, error) {
	if err := h.blocks.Actors.DeleteReminders(ctx, req.GetActorType(), req.GetActorId()); err != nil {
		return nil, err
	}
	return &runtimev1.UnregisterActorRemindersByTypeResponse{}, nil
}

// RenameActorReminder gives a reminder another name.
func (h *handlers) RenameActorReminder(ctx context.Context, req *runtimev1.RenameActorReminderRequest) (*emptypb.Empty, error) {
	return done(h.blocks.Actors.RenameReminder(ctx, req.GetActorType(), req.GetActorId(), req.GetOldName(), req.GetNewName()))
}
