package grpc_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

// only allows one secret.
type only string

func (o only) Allowed(_, secret string) bool { return secret == string(o) }

func TestSecrets(t *testing.T) {
	s := start(t, func(s *sidecar) {
		_ = s.secrets.Add("vault", drawer{"db": {"user": "u\xff", "password": "p"}, "hidden": {"hidden": "h"}})
		s.secrets.Restrict(only("db"))
	})
	one, err := s.GetSecret(t.Context(), &runtimev1.GetSecretRequest{StoreName: "vault", Key: "db"})
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{"user": "u\uFFFD", "password": "p"}
	if diff := cmp.Diff(&runtimev1.GetSecretResponse{Data: values}, one, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	all, err := s.GetBulkSecret(t.Context(), &runtimev1.GetBulkSecretRequest{StoreName: "vault"})
	if err != nil {
		t.Fatal(err)
	}
	want := &runtimev1.GetBulkSecretResponse{Data: map[string]*runtimev1.SecretResponse{"db": {Secrets: values}}}
	if diff := cmp.Diff(want, all, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	_, err = s.GetSecret(t.Context(), &runtimev1.GetSecretRequest{StoreName: "vault", Key: "hidden"})
	failedWith(t, err, codes.PermissionDenied, `access denied by policy to get "hidden" from "vault"`)
	_, err = s.GetSecret(t.Context(), &runtimev1.GetSecretRequest{StoreName: "safe", Key: "db"})
	failedWith(t, err, codes.InvalidArgument, "failed finding secret store with key safe")
	s.secrets.Restrict(only("none"))
	_, err = s.GetSecret(t.Context(), &runtimev1.GetSecretRequest{StoreName: "vault", Key: "none"})
	failedWith(t, err, codes.Internal, "failed getting secret with key none from secret store vault: secret not found: none")
}

func TestNoSecretStore(t *testing.T) {
	s := start(t, nil)
	_, err := s.GetBulkSecret(t.Context(), &runtimev1.GetBulkSecretRequest{StoreName: "vault"})
	failedWith(t, err, codes.FailedPrecondition, "secret store is not configured")
}
