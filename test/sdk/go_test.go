package sdk

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dapr/go-sdk/client"
	"github.com/dapr/go-sdk/service/common"
	daprgrpc "github.com/dapr/go-sdk/service/grpc"
	daprhttp "github.com/dapr/go-sdk/service/http"
)

func dial(t *testing.T, s *sidecar) client.Client {
	t.Helper()
	c, err := client.NewClientWithAddressContext(deadline(t), fmt.Sprintf("127.0.0.1:%d", s.grpc))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestGoState(t *testing.T) {
	sidecar := start(t, "state-app", 0, "http")
	c := dial(t, sidecar)
	for _, store := range []string{"store", "durable"} {
		t.Run(store, func(t *testing.T) {
			ctx := deadline(t)
			must(t, c.SaveState(ctx, store, "key", []byte("value\x00\xff"), nil))
			item, err := c.GetState(ctx, store, "key", nil)
			must(t, err)
			if string(item.Value) != "value\x00\xff" || item.Etag == "" {
				t.Errorf("item %q, etag %q", item.Value, item.Etag)
			}
			must(t, c.SaveStateWithETag(ctx, store, "key", []byte("second"), item.Etag, nil))
			if err := c.SaveStateWithETag(ctx, store, "key", []byte("third"), item.Etag, nil); err == nil {
				t.Error("an old etag was accepted")
			}
			firstWrite := client.WithConcurrency(client.StateConcurrencyFirstWrite)
			if err := c.SaveState(ctx, store, "key", []byte("again"), nil, firstWrite); err == nil {
				t.Error("a first write replaced a value")
			}
			must(t, c.SaveBulkState(ctx, store,
				&client.SetStateItem{Key: "a", Value: []byte("1")}, &client.SetStateItem{Key: "b", Value: []byte("2")}))
			items, err := c.GetBulkState(ctx, store, []string{"a", "b", "absent"}, nil, 2)
			must(t, err)
			found := map[string]string{}
			for _, i := range items {
				found[i.Key] = string(i.Value)
			}
			if fmt.Sprint(found) != "map[a:1 absent: b:2]" {
				t.Errorf("bulk get gave %v", found)
			}
			must(t, c.ExecuteStateTransaction(ctx, store, nil, []*client.StateOperation{
				{Type: client.StateOperationTypeUpsert, Item: &client.SetStateItem{Key: "a", Value: []byte("3")}},
				{Type: client.StateOperationTypeDelete, Item: &client.SetStateItem{Key: "b"}},
			}))
			must(t, c.DeleteBulkState(ctx, store, []string{"key", "absent"}, nil))
			for key, want := range map[string]string{"a": "3", "b": "", "key": ""} {
				item, err := c.GetState(ctx, store, key, nil)
				must(t, err)
				if string(item.Value) != want {
					t.Errorf("%s is %q, want %q", key, item.Value, want)
				}
			}
		})
	}
	if _, err := c.GetState(deadline(t), "no-such", "key", nil); err == nil || !strings.Contains(err.Error(), "state store no-such is not found") {
		t.Errorf("unknown store: %v", err)
	}
}

func TestGoSecrets(t *testing.T) {
	c := dial(t, start(t, "secrets-app", 0, "http"))
	ctx := deadline(t)
	one, err := c.GetSecret(ctx, "vault", "plain", nil)
	must(t, err)
	if fmt.Sprint(one) != "map[plain:s3cret]" {
		t.Errorf("secret %v", one)
	}
	all, err := c.GetBulkSecret(ctx, "vault", nil)
	must(t, err)
	if all["db:user"]["db:user"] != "ada" {
		t.Errorf("secrets %v", all)
	}
	if _, err := c.GetSecret(ctx, "vault", "absent", nil); err == nil {
		t.Error("an unknown secret was found")
	}
}

func TestGoMetadata(t *testing.T) {
	c := dial(t, start(t, "meta-app", 0, "http"))
	ctx := deadline(t)
	must(t, c.SetMetadata(ctx, "colour", "green"))
	m, err := c.GetMetadata(ctx)
	must(t, err)
	if m.ID != "meta-app" || m.ExtendedMetadata["colour"] != "green" {
		t.Errorf("metadata %+v", m)
	}
	if len(m.RegisteredComponents) != 3 {
		t.Errorf("components %+v", m.RegisteredComponents)
	}
	must(t, c.Wait(ctx, 5*time.Second))
}

// TestGoInvoke calls an HTTP app and a gRPC app, both made with the SDK, through two sidecars.
func TestGoInvoke(t *testing.T) {
	for protocol := range services {
		t.Run(protocol, func(t *testing.T) {
			service, port := newService(t, protocol)
			must(t, service.AddServiceInvocationHandler("/echo", func(_ context.Context, in *common.InvocationEvent) (*common.Content, error) {
				text := fmt.Sprintf("%s %s %s", in.Verb, in.QueryString, in.Data)
				return &common.Content{Data: []byte(text), ContentType: "text/plain"}, nil
			}))
			serve(t, service)
			callee := "callee-" + protocol
			start(t, callee, port, protocol)
			c := dial(t, start(t, "caller-"+protocol, 0, "http"))
			out, err := c.InvokeMethodWithContent(deadline(t), callee, "echo?x=1", "post",
				&client.DataContent{Data: []byte("body"), ContentType: "text/plain"})
			must(t, err)
			if got := string(out); !strings.EqualFold(got, "POST x=1 body") {
				t.Errorf("the app answered %q", got)
			}
		})
	}
}

// services opens, for each protocol, an application of the SDK.
var services = map[string]func(net.Listener) common.Service{
	"http": func(l net.Listener) common.Service {
		address := l.Addr().String()
		l.Close()
		return daprhttp.NewService(address)
	},
	"grpc": func(l net.Listener) common.Service { return daprgrpc.NewServiceWithListener(l) },
}

// newService is an application of the SDK, to be given handlers and then served, and its port.
func newService(t *testing.T, protocol string) (common.Service, int) {
	t.Helper()
	listener := listen(t)
	return services[protocol](listener), listener.Addr().(*net.TCPAddr).Port
}

// serve runs the application until the test ends.
func serve(t *testing.T, service common.Service) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = service.Start()
	}()
	t.Cleanup(func() { must(t, service.Stop()); <-done })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
