package sentry

import (
	"context"
	"errors"
	"fmt"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	sentryv1 "github.com/daprd/daprd/pkg/proto/sentry/v1"
)

// server is the service CA.
type server struct {
	sentryv1.UnimplementedCAServer
	authority  *authority
	validators validators
	metrics    *metrics
	log        logrus.FieldLogger
}

// refusal is why a request is not granted: a reason for the metrics, a status for the client.
type refusal struct {
	reason string
	code   codes.Code
	text   string
}

// SignCertificate signs for those whom the validator knows. Codes and texts are those of Dapr 1.18.
func (s *server) SignCertificate(ctx context.Context, request *sentryv1.SignCertificateRequest) (*sentryv1.SignCertificateResponse, error) {
	s.metrics.received.Inc()
	response, refused := s.grant(ctx, request)
	if refused != nil {
		s.metrics.failed.WithLabelValues(refused.reason).Inc()
		s.log.Debugf("Request of %q in namespace %q failed: %s", request.GetId(), request.GetNamespace(), refused.text)
		return nil, status.Error(refused.code, refused.text)
	}
	s.metrics.succeeded.Inc()
	s.log.Debugf("Successfully signed certificate for %s/%s", request.GetNamespace(), request.GetId())
	return response, nil
}

func (s *server) grant(ctx context.Context, request *sentryv1.SignCertificateRequest) (*sentryv1.SignCertificateResponse, *refusal) {
	who, refused := s.identify(ctx, request)
	if refused != nil {
		return nil, refused
	}
	key, err := publicKey(request.GetCertificateSigningRequest())
	if err != nil {
		return nil, &refusal{"csr", codes.InvalidArgument, err.Error()}
	}
	made, err := s.authority.sign(who, key)
	if err != nil {
		s.log.Errorf("Failed to sign a certificate for %s: %s", who.id, err)
		return nil, &refusal{"sign", codes.Internal, "failed to sign certificate"}
	}
	response := &sentryv1.SignCertificateResponse{
		WorkloadCertificate:    []byte(encodeCertificates(made.chain)),
		TrustChainCertificates: [][]byte{made.trust},
		ValidUntil:             timestamppb.New(made.leaf.NotAfter),
	}
	if err := s.addTokens(response, who, request.GetJwtAudiences()); err != nil {
		s.log.Errorf("Failed to sign a JWT for %s: %s", who.id, err)
		return nil, &refusal{"sign", codes.Internal, "failed to sign JWT"}
	}
	return response, nil
}

// addTokens puts in the JWT-SVIDs, where the authority makes any.
func (s *server) addTokens(response *sentryv1.SignCertificateResponse, who identity, audiences []string) error {
	made, err := s.authority.signTokens(who, audiences)
	if err != nil || made == nil {
		return err
	}
	response.Jwt = wrapperspb.String(made.all)
	response.PerAudienceJwts = make(map[string]*wrapperspb.StringValue, len(made.each))
	for audience, token := range made.each {
		response.PerAudienceJwts[audience] = wrapperspb.String(token)
	}
	return nil
}

// identify is whom the request is allowed to be.
func (s *server) identify(ctx context.Context, request *sentryv1.SignCertificateRequest) (identity, *refusal) {
	chosen := request.GetTokenValidator()
	if chosen == sentryv1.SignCertificateRequest_UNKNOWN {
		chosen = s.validators.standard
	}
	v, enabled := s.validators.byKind[chosen]
	switch {
	case chosen == sentryv1.SignCertificateRequest_UNKNOWN:
		return identity{}, &refusal{"validator", codes.InvalidArgument, "a validator name must be specified in this environment"}
	case !enabled:
		return identity{}, &refusal{"validator", codes.InvalidArgument, "the requested validator is not enabled"}
	}
	if err := check(request); err != nil {
		return identity{}, &refusal{"request", codes.PermissionDenied, err.Error()}
	}
	domain, err := v.validate(ctx, request)
	switch {
	case errors.Is(err, errUnavailable):
		s.log.Warnf("A request of %q in namespace %q cannot be judged: %s", request.GetId(), request.GetNamespace(), err)
		return identity{}, &refusal{"unavailable", codes.Unavailable, err.Error()}
	case err != nil:
		return identity{}, &refusal{"token", codes.PermissionDenied, err.Error()}
	}
	who, err := newIdentity(domain, request.GetNamespace(), request.GetId())
	if err != nil {
		return identity{}, &refusal{"request", codes.PermissionDenied, fmt.Sprintf("invalid request: %s", err)}
	}
	return who, nil
}
