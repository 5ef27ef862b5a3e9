package channel

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
)

// HTTPStatus is the HTTP status that stands for a gRPC code (service invocation reference, 4.3).
func HTTPStatus(code codes.Code) int {
	switch code {
	case codes.OK:
		return http.StatusOK
	case codes.Canceled:
		return http.StatusRequestTimeout
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return http.StatusBadRequest
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	case codes.NotFound:
		return http.StatusNotFound
	case codes.AlreadyExists, codes.Aborted:
		return http.StatusConflict
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// GRPCCode is the gRPC code that stands for an HTTP status (service invocation reference, 4.4).
func GRPCCode(httpStatus int) codes.Code {
	if httpStatus >= 200 && httpStatus < 300 {
		return codes.OK
	}
	switch httpStatus {
	case http.StatusBadRequest:
		return codes.Internal
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound:
		return codes.NotFound
	case http.StatusRequestTimeout:
		return codes.Canceled
	case http.StatusConflict:
		return codes.AlreadyExists
	case http.StatusTooManyRequests:
		return codes.ResourceExhausted
	case http.StatusNotImplemented:
		return codes.Unimplemented
	case http.StatusServiceUnavailable:
		return codes.Unavailable
	case http.StatusGatewayTimeout:
		return codes.DeadlineExceeded
	}
	return codes.Unknown
}

const (
	jsonType     = "application/json"
	protobufType = "application/x-protobuf"
)

// HTTPAnswer is how the answer reads for an HTTP caller: an HTTP application's as it is, a gRPC
// application's with the status that stands for its code and, unless that is OK, with the JSON form of its
// google.rpc.Status as the body.
func (r *Response) HTTPAnswer() (httpStatus int, contentType string, body Body) {
	switch {
	case r.IsHTTP():
		return r.Status, r.ContentType, r.Body
	case r.Status == int(codes.OK):
		return http.StatusOK, mediaType(r.ContentType, r.TypeURL), r.Body
	}
	return HTTPStatus(codes.Code(r.Status)), jsonType, Body{Bytes: r.statusJSON()}
}

// GRPCStatus is how the answer reads for a gRPC caller: a gRPC application's status as it is; OK for an
// HTTP status of the two hundreds; for any other its reason phrase, with the status and the first 63 bytes
// of the body in an ErrorInfo detail. To learn those it reads the body.
func (r *Response) GRPCStatus() *status.Status {
	if !r.IsHTTP() {
		return status.FromProto(r.rpcStatus())
	}
	if GRPCCode(r.Status) == codes.OK {
		return status.New(codes.OK, "")
	}
	var start [63]byte
	n, _ := io.ReadFull(r.Body.Reader(), start[:])
	phrase := http.StatusText(r.Status)
	st := status.New(GRPCCode(r.Status), phrase)
	detailed, err := st.WithDetails(&errdetails.ErrorInfo{
		Reason:   phrase,
		Domain:   "dapr.io",
		Metadata: map[string]string{"http.code": strconv.Itoa(r.Status), "http.error_message": string(bytes.ToValidUTF8(start[:n], nil))},
	})
	if err != nil {
		return st
	}
	return detailed
}

func (r *Response) rpcStatus() *statuspb.Status {
	if r.Details != nil {
		return r.Details
	}
	return &statuspb.Status{Code: int32(r.Status), Message: r.Message}
}

// statusJSON leaves details out whose type nobody knows here: JSON has no form for them, and code and
// message are worth more than an error about it.
func (r *Response) statusJSON() []byte {
	st := r.rpcStatus()
	text, err := protojson.Marshal(st)
	if err != nil {
		text, err = protojson.Marshal(&statuspb.Status{Code: st.GetCode(), Message: st.GetMessage()})
	}
	if err != nil {
		return []byte(`{"code":` + strconv.Itoa(r.Status) + `}`)
	}
	var compact bytes.Buffer
	// protojson puts spaces in at random.
	if json.Compact(&compact, text) != nil {
		return text
	}
	return compact.Bytes()
}

// mediaType is what an HTTP peer is told of data that came in an Any of that type.
func mediaType(contentType, typeURL string) string {
	if typeURL != "" {
		return protobufType
	}
	return contentType
}
