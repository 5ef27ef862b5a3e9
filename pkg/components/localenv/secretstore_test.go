package localenv_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/components/localenv"
	"github.com/daprd/daprd/pkg/secrets/secretstest"
)

func TestSecrets(t *testing.T) {
	t.Setenv("MYAPP_PASSWORD", "p=1")
	t.Setenv("MYAPP_EMPTY", "")
	t.Setenv("OTHER", "x")
	t.Setenv("DAPR_API_TOKEN", "token")
	t.Setenv("APP_API_TOKEN", "token")
	store, err := localenv.NewSecretStore(t.Context(), componentstest.FromReadme(t, "secretstores.local.env"))
	if err != nil {
		t.Fatal(err)
	}
	secretstest.Run(t, store, secretstest.Options{
		Known: map[string]map[string]string{"PASSWORD": {"PASSWORD": "p=1"}, "EMPTY": {"EMPTY": ""}}, Exact: true,
		Unknown: "UNSET", UnknownIsEmpty: true,
	})
}

func TestWithoutPrefix(t *testing.T) {
	t.Setenv("SOME_PASSWORD", "hunter2")
	store, err := localenv.NewSecretStore(t.Context(), componentstest.Spec("secretstores.local.env", nil))
	if err != nil {
		t.Fatal(err)
	}
	secretstest.Run(t, store, secretstest.Options{
		Known:   map[string]map[string]string{"SOME_PASSWORD": {"SOME_PASSWORD": "hunter2"}},
		Unknown: "NOT_SET", UnknownIsEmpty: true,
	})
}

func TestAPrefixOpensNoReservedVariable(t *testing.T) {
	t.Setenv("DAPR_API_TOKEN", "token")
	store, err := localenv.NewSecretStore(t.Context(), componentstest.Spec("secretstores.local.env", map[string]string{"prefix": "Dapr_"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"API_TOKEN", "api_token"} {
		got, err := store.Secret(t.Context(), name, nil)
		if diff := cmp.Diff(map[string]string{name: ""}, got); err != nil || diff != "" {
			t.Errorf("%v, %s", err, diff)
		}
	}
	if all, err := store.All(t.Context(), nil); err != nil || len(all) > 0 {
		t.Errorf("a bulk read shows %v, %v", all, err)
	}
}

func TestTheSidecarsOwnVariablesStayHidden(t *testing.T) {
	t.Setenv("DAPR_API_TOKEN", "token")
	t.Setenv("App_Api_Token", "token")
	store, err := localenv.NewSecretStore(t.Context(), componentstest.Spec("secretstores.local.env", nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"DAPR_API_TOKEN", "App_Api_Token"} {
		got, err := store.Secret(t.Context(), name, nil)
		if err != nil || got[name] != "" {
			t.Errorf("%s: %q, %v", name, got[name], err)
		}
	}
	all, err := store.All(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := all["DAPR_API_TOKEN"]; ok {
		t.Error("a bulk read shows DAPR_API_TOKEN")
	}
}
