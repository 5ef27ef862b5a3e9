package kubernetes_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/nameresolution/kubernetes"
)

// directory is a DNS of a few names.
type directory map[string][]string

func (d directory) lookup(_ context.Context, host string) ([]string, error) {
	if found, ok := d[host]; ok {
		return found, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func TestResolve(t *testing.T) {
	names := directory{
		"cart-dapr.default.svc.cluster.local.": {"10.0.0.1", "fd00::1"},
		"cart-dapr.shop.svc.example.org.":      {"10.0.0.2"},
		"cart.shop.example":                    {"10.0.0.3"},
	}
	for name, c := range map[string]struct {
		settings kubernetes.Settings
		target   nameresolution.Target
		want     []string
	}{
		"the usual form":           {kubernetes.Settings{}, nameresolution.Target{AppID: "cart", Port: 50002}, []string{"10.0.0.1:50002", "[fd00::1]:50002"}},
		"another domain":           {kubernetes.Settings{ClusterDomain: "example.org"}, nameresolution.Target{AppID: "cart", Namespace: "shop", Port: 7}, []string{"10.0.0.2:7"}},
		"a template":               {kubernetes.Settings{Template: "{{.ID}}.{{.Namespace}}.example:{{.Port}}"}, nameresolution.Target{AppID: "cart", Namespace: "shop", Port: 7}, []string{"10.0.0.3:7"}},
		"a template with its port": {kubernetes.Settings{Template: "cart.shop.example:9"}, nameresolution.Target{AppID: "x", Port: 7}, []string{"10.0.0.3:9"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.settings.Lookup = names.lookup
			r, err := kubernetes.New(c.settings)
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.Resolve(t.Context(), c.target)
			if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	away := errors.New("the DNS is away")
	for name, c := range map[string]struct {
		lookup   func(context.Context, string) ([]string, error)
		notFound bool
	}{
		"unknown":      {directory{}.lookup, true},
		"no addresses": {func(context.Context, string) ([]string, error) { return nil, nil }, true},
		"away":         {func(context.Context, string) ([]string, error) { return nil, away }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := kubernetes.New(kubernetes.Settings{Lookup: c.lookup})
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.Resolve(t.Context(), nameresolution.Target{AppID: "cart", Port: 1})
			var notFound *nameresolution.NotFoundError
			if errors.As(err, &notFound) != c.notFound || errors.Is(err, away) == c.notFound {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTemplatesThatCannotBeUsed(t *testing.T) {
	for text, want := range map[string]string{"{{.ID": "unclosed action", "{{.Nobody}}:1": "Nobody", "{{.ID}}": "missing port",
		"{{.ID | printf}}:1": "printf", "{{if .ID}}a{{end}}:1": "is unknown: it has .ID, .Namespace and .Port"} {
		if _, err := kubernetes.New(kubernetes.Settings{Template: text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
