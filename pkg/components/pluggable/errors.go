package pluggable

import (
	"errors"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/state"
)

// served is the outcome of a ping: a process that does not implement it is there all the same.
func served(err error) error {
	if status.Code(err) == codes.Unimplemented {
		return nil
	}
	return err
}

// stateError reads what a state store tells by the details of a status (reference: building-blocks 13).
func stateError(err error) error {
	st, ok := status.FromError(err)
	if err == nil || !ok || len(st.Details()) != 1 {
		return err
	}
	switch detail := st.Details()[0].(type) {
	case *errdetails.BadRequest:
		return etagError(st, detail, err)
	case *errdetails.ErrorInfo:
		if detail.GetMetadata()["kit_error"] == "true" {
			return ownError(st, detail)
		}
	}
	return err
}

// etagError is a refused entity tag: one violation of the field "etag".
func etagError(st *status.Status, detail *errdetails.BadRequest, err error) error {
	violations := detail.GetFieldViolations()
	if len(violations) != 1 || violations[0].GetField() != "etag" {
		return err
	}
	cause := errors.New(violations[0].GetDescription())
	switch st.Code() {
	case codes.FailedPrecondition:
		return &state.ETagError{Kind: state.ETagMismatch, Cause: cause}
	case codes.InvalidArgument:
		return &state.ETagError{Kind: state.ETagInvalid, Cause: cause}
	}
	return err
}

// ownError is an error of the API that the component itself has chosen.
func ownError(st *status.Status, detail *errdetails.ErrorInfo) error {
	code, err := strconv.Atoi(detail.GetMetadata()["http_code"])
	if err != nil || code < 400 || code > 599 {
		code = 500
	}
	row := apierr.Row{Code: detail.GetMetadata()["tag"], HTTP: code, GRPC: st.Code(), Format: "%s", Reason: detail.GetReason(), Rich: true}
	return row.New(st.Message())
}
