package test

import (
	"fmt"
	"net/http"

	"google.golang.org/grpc/codes"
)

var (
	noSecretStores = &fault{HTTP: http.StatusInternalServerError, Code: "ERR_SECRET_STORES_NOT_CONFIGURED", GRPC: codes.FailedPrecondition,
		Text: "secret store is not configured"}
	unknownSecretStore = &fault{HTTP: http.StatusUnauthorized, Code: "ERR_SECRET_STORE_NOT_FOUND", GRPC: codes.InvalidArgument,
		Text: "failed finding secret store with key nowhere"}
)

func denied(name, store string) meaning {
	return meaning{Fault: &fault{HTTP: http.StatusForbidden, Code: "ERR_PERMISSION_DENIED", GRPC: codes.PermissionDenied,
		Text: fmt.Sprintf("access denied by policy to get %q from %q", name, store)}}
}

type values = map[string]string

func single(name, value string) map[string]values { return map[string]values{name: {name: value}} }

func secretCases() []parityCase {
	secret := func(store, name string) func(*asker) meaning {
		return func(a *asker) meaning { return a.api.secret(a.ctx, store, name) }
	}
	bulk := func(store string) func(*asker) meaning {
		return func(a *asker) meaning { return a.api.secrets(a.ctx, store) }
	}
	all := map[string]values{"one": {"one": "1"}, "two": {"two": "2"}, "nested:a": {"nested:a": "x"}, "nested:b": {"nested:b": "y"},
		"key": {"key": "00112233445566778899aabbccddeeff"}}
	without := func(name string) map[string]values {
		left := map[string]values{}
		for each, of := range all {
			if each != name {
				left[each] = of
			}
		}
		return left
	}
	return []parityCase{
		{name: "one", do: secret("open", "one"), want: meaning{Secrets: single("one", "1")}},
		{name: "nested", do: secret("open", "nested:a"), want: meaning{Secrets: single("nested:a", "x")}},
		{name: "several values", do: secret("multi", "nested"), want: meaning{Secrets: map[string]values{"nested": {"a": "x", "b": "y"}}}},
		{name: "bulk", do: bulk("open"), want: meaning{Secrets: all}},
		{name: "of the environment", do: secret("environment", "SECRET"), want: meaning{Secrets: single("SECRET", "from the environment")}},
		{name: "bulk of the environment", do: bulk("environment"), want: meaning{Secrets: single("SECRET", "from the environment")}},
		{name: "the sidecar's own", do: secret("environment", "APP_API_TOKEN"), want: meaning{Secrets: single("APP_API_TOKEN", "")}},
		{name: "unknown secret", do: secret("open", "three"), want: meaning{Fault: &fault{HTTP: http.StatusInternalServerError,
			Code: "ERR_SECRET_GET", GRPC: codes.Internal, Text: "failed getting secret with key three from secret store open: …"}}},
		{name: "unknown store", do: secret("nowhere", "one"), want: meaning{Fault: unknownSecretStore}},
		{name: "bulk of an unknown store", do: bulk("nowhere"), want: meaning{Fault: unknownSecretStore}},
		{name: "allowed by a list", do: secret("listed", "one"), want: meaning{Secrets: single("one", "1")}},
		{name: "not in the list", do: secret("listed", "two"), want: denied("two", "listed")},
		{name: "bulk leaves out what is not in the list", do: bulk("listed"), want: meaning{Secrets: single("one", "1")}},
		{name: "denied by name", do: secret("some", "two"), want: denied("two", "some")},
		{name: "bulk leaves out what is denied", do: bulk("some"), want: meaning{Secrets: without("two")}},
		{name: "denied by default", do: secret("shut", "one"), want: denied("one", "shut")},
		{name: "bulk of what is denied by default", do: bulk("shut")},
		{name: "denied before it is looked for", do: secret("shut", "no such secret"), want: denied("no such secret", "shut")},
	}
}
