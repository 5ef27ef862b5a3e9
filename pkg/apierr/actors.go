package apierr

import (
	"net/http"

	"google.golang.org/grpc/codes"
)

// The errors of actors (reference: actors 3.2, grpc-api 8).
var (
	// ActorRuntimeNotFound: there is no store for the state of actors, or an unfit one.
	ActorRuntimeNotFound = Row{Code: "ERR_ACTOR_RUNTIME_NOT_FOUND", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "the state store is not configured to use the actor runtime: %s"}
	// ActorNoPlacement: nobody says where actors live.
	ActorNoPlacement = Row{Code: "ERR_ACTOR_NO_PLACEMENT", HTTP: http.StatusBadRequest, GRPC: codes.Unavailable,
		Format: "placement service is not configured"}
	// ActorRuntimeClosed: the sidecar is about to end.
	ActorRuntimeClosed = Row{Code: "ERR_ACTOR_RUNTIME_CLOSED", HTTP: http.StatusServiceUnavailable, GRPC: codes.Unavailable,
		Format: "actor runtime is closed"}
	// ActorTypeReserved: the type is that of workflows.
	ActorTypeReserved = Row{Code: "ERR_ACTOR_TYPE_RESERVED", HTTP: http.StatusForbidden, GRPC: codes.PermissionDenied,
		Format: "actor type %q is reserved for the Dapr workflow runtime; direct actor API access is not permitted"}
	// ActorBadRequest: a name or a field that cannot be used.
	ActorBadRequest = Row{Code: "ERR_BAD_REQUEST", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument, Format: "invalid request: %v"}
	// ActorBadCall: a name in a call of a method that cannot be used.
	ActorBadCall = Row{Code: "ERR_BAD_REQUEST", HTTP: http.StatusBadRequest, GRPC: codes.InvalidArgument, Format: "invalid %s: %v"}
	// ActorInstanceMissing: the actor is not active here.
	ActorInstanceMissing = Row{Code: "ERR_ACTOR_INSTANCE_MISSING", HTTP: http.StatusBadRequest, GRPC: codes.Internal,
		Format: "actor instance is missing"}
	// ActorInvoke: a method could not be called, or its application says that it failed.
	ActorInvoke = Row{Code: "ERR_ACTOR_INVOKE_METHOD", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "error invoke actor method: %v"}
	// ActorNoAddress: nobody hosts the type.
	ActorNoAddress = Row{Code: "ERR_ACTOR_INVOKE_METHOD", HTTP: http.StatusInternalServerError, GRPC: codes.FailedPrecondition,
		Format:     "failed to lookup actor: api error: code = FailedPrecondition desc = did not find address for actor '%s/%s'",
		HTTPPrefix: "error invoke actor method: "}
	// ActorStackDepth: a chain of calls has come into an actor more often than its type allows.
	ActorStackDepth = Row{Code: "ERR_ACTOR_STACK_DEPTH", HTTP: http.StatusInternalServerError, GRPC: codes.ResourceExhausted,
		Format: "maximum stack depth exceeded"}
	// ActorBusy: as many calls wait for one actor as may.
	ActorBusy = Row{Code: "ERR_ACTOR_BUSY", HTTP: http.StatusTooManyRequests, GRPC: codes.ResourceExhausted,
		Format: "the actor %s/%s has %d calls waiting for their turn, and no more may wait: make fewer calls at once, or spread them over more actors"}
	// ActorStateGet: the store failed.
	ActorStateGet = Row{Code: "ERR_ACTOR_STATE_GET", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "error getting actor state: %v"}
	// ActorStateTransaction: the store failed, or the transaction cannot be used.
	ActorStateTransaction = Row{Code: "ERR_ACTOR_STATE_TRANSACTION_SAVE", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "error saving actor transaction state: %v"}

	// ActorStreamRefused: the application is called for its actors, on its port.
	ActorStreamRefused = Row{Code: "ERR_ACTOR_STREAM", HTTP: http.StatusPreconditionFailed, GRPC: codes.FailedPrecondition,
		Format: "actor callback streaming requires a gRPC app channel"}
	// ActorStreamFailed: the types of a stream cannot be hosted.
	ActorStreamFailed = Row{Code: "ERR_ACTOR_STREAM", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "failed to register hosted actors: %v"}

	// ActorReminderNonHosted: reminders are only for the types that the application hosts.
	ActorReminderNonHosted = Row{Code: "ERR_ACTOR_REMINDER_NON_HOSTED", HTTP: http.StatusForbidden, GRPC: codes.PermissionDenied,
		Format: "operations on actor reminders are only possible on hosted actor types"}
	// ActorReminderNotFound: there is none of that name.
	ActorReminderNotFound = Row{Code: "ERR_ACTOR_REMINDER_NOT_FOUND", HTTP: http.StatusNotFound, GRPC: codes.NotFound,
		Format: "actor reminder not found: %s"}
	// ActorReminderExists: there is one of that name, and the caller does not want to overwrite it.
	ActorReminderExists = Row{Code: "ERR_ACTOR_REMINDER_ALREADY_EXISTS", HTTP: http.StatusConflict, GRPC: codes.AlreadyExists,
		Format: "actor reminder already exists: %s"}
	// ActorReminderCreate: it cannot be registered.
	ActorReminderCreate = Row{Code: "ERR_ACTOR_REMINDER_CREATE", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "error creating actor reminder: %v"}
	// ActorReminderGet: it cannot be read.
	ActorReminderGet = Row{Code: "ERR_ACTOR_REMINDER_GET", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "error getting actor reminder: %v"}
	// ActorReminderDelete: it cannot be deleted.
	ActorReminderDelete = Row{Code: "ERR_ACTOR_REMINDER_DELETE", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "error deleting actor reminder: %v"}
	// ActorReminderRename: it cannot be renamed (Dapr 1.7).
	ActorReminderRename = Row{Code: "ERR_ACTOR_REMINDER_RENAME", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "error rename actor reminder: %v"}
	// ActorTimerCreate: it cannot be registered.
	ActorTimerCreate = Row{Code: "ERR_ACTOR_TIMER_CREATE", HTTP: http.StatusInternalServerError, GRPC: codes.Internal,
		Format: "error creating actor timer: %v"}
)
