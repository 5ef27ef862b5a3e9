package catalogue_test

import (
	"testing"

	"github.com/daprd/daprd/pkg/components/catalogue"
)

func TestAll(t *testing.T) {
	set := catalogue.All()
	for _, kind := range []string{"state.in-memory", "state.redis", "state.sqlite", "state.sqlite3"} {
		if _, err := set.State.Factory(kind, "v1"); err != nil {
			t.Error(err)
		}
	}
	for _, kind := range []string{"secretstores.local.env", "secretstores.local.file"} {
		if _, err := set.SecretStore.Factory(kind, "v1"); err != nil {
			t.Error(err)
		}
	}
	for _, kind := range []string{"middleware.http.uppercase", "middleware.http.routeralias", "middleware.http.routerchecker", "middleware.http.ratelimit",
		"middleware.http.bearer", "middleware.http.oauth2", "middleware.http.oauth2clientcredentials", "middleware.http.opa", "middleware.http.sentinel",
		"middleware.http.wasm"} {
		if _, err := set.Middleware.Factory(kind, "v1"); err != nil {
			t.Error(err)
		}
	}
	if _, err := set.InputBinding.Factory("bindings.cron", "v1"); err != nil {
		t.Error(err)
	}
	for _, kind := range []string{"bindings.http", "bindings.localstorage"} {
		if _, err := set.OutputBinding.Factory(kind, "v1"); err != nil {
			t.Error(err)
		}
	}
	for _, kind := range []string{"mdns", "sqlite", "kubernetes", "nameformat"} {
		if _, err := set.Resolver.Factory(kind, "v1"); err != nil {
			t.Error(err)
		}
	}
}
