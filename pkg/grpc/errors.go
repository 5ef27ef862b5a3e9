package grpc

import (
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/daprd/daprd/pkg/apierr"
)

// domain is that of every ErrorInfo.
const domain = "dapr.io"

// statusError is the one place where an error becomes a status. An error that carries a status already keeps
// it, unless it is a row; any other is Unknown with its text.
func statusError(err error) error {
	var row *apierr.Error
	if !errors.As(err, &row) {
		if _, ok := status.FromError(err); ok {
			return err
		}
		row = apierr.From(err)
	}
	if !row.HasDetails() {
		return status.Error(row.GRPC, row.Message)
	}
	return detailed(row.GRPC, row.Message, details(row)...)
}

// details are in the order in which Dapr 1.18 sends them.
func details(e *apierr.Error) []proto.Message {
	var all []proto.Message
	if e.Help != nil {
		all = append(all, &errdetails.Help{Links: []*errdetails.Help_Link{{Description: e.Help.Description, Url: e.Help.URL}}})
	}
	if e.Violation != nil {
		all = append(all, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: e.Violation.Field, Description: e.Violation.Description}}})
	}
	if e.Resource != nil {
		all = append(all, &errdetails.ResourceInfo{ResourceType: e.Resource.Type, ResourceName: e.Resource.Name,
			Owner: e.Resource.Owner, Description: e.Resource.Description})
	}
	if e.Reason != "" {
		all = append(all, &errdetails.ErrorInfo{Reason: e.Reason, Domain: domain, Metadata: e.Metadata})
	}
	return all
}

func detailed(code codes.Code, message string, details ...proto.Message) error {
	st := &statuspb.Status{Code: int32(code), Message: message}
	for _, detail := range details {
		packed, err := anypb.New(detail)
		if err != nil {
			// Text that is no UTF-8 has no place in a detail; code and message say the most.
			continue
		}
		st.Details = append(st.Details, packed)
	}
	return status.ErrorProto(st)
}

// refused is how the gate turns a call away.
type refused struct {
	code    codes.Code
	message string
	http    string
}

var (
	unauthorized = refused{codes.Unauthenticated, "Unauthorized", "401"}
	notAllowed   = refused{codes.Unimplemented, "Not Implemented", "501"}
)

func refusal(r refused, reason string) error {
	return detailed(r.code, r.message, &errdetails.ErrorInfo{Reason: r.message, Domain: domain,
		Metadata: map[string]string{"http.code": r.http, "http.error_message": reason}})
}
