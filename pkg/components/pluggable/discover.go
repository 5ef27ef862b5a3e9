// Package pluggable uses components that run as processes of their own: they serve gRPC on sockets of a folder and are
// found by reflection (dapr.proto.components.v1). What they are made with it does not know, nor the API.
package pluggable

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	"github.com/daprd/daprd/pkg/components"
	componentsv1 "github.com/daprd/daprd/pkg/proto/components/v1"
)

// DefaultFolder is where sockets are looked for, unless DAPR_COMPONENTS_SOCKETS_FOLDER says otherwise.
const DefaultFolder = "/tmp/dapr-components-sockets"

// introduction is how long a process has to say which services it has. Dapr waits without end, so that one socket
// which nobody serves any more would hold up the start.
const introduction = 5 * time.Second

// Discover finds the processes that serve on sockets of the folder and registers their types in the set. A folder
// that is not there has none. What is no socket, and a process that does not answer, is logged and passed over.
func Discover(ctx context.Context, folder string, set components.Set, log logrus.FieldLogger) {
	if folder == "" {
		folder = DefaultFolder
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			log.Errorf("could not initialize pluggable components: read the sockets folder: %s", err)
		}
		return
	}
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		switch {
		case entry.IsDir():
		case entry.Type()&os.ModeSocket == 0:
			log.Warnf("could not use socket for file %s: it is no socket", path)
		default:
			if err := introduce(ctx, path, set, log); err != nil {
				log.Errorf("could not initialize pluggable components of %s: %s; the others are not affected", path, err)
			}
		}
	}
}

// introduce asks a process for its services and registers those that are kinds of components.
func introduce(ctx context.Context, path string, set components.Set, log logrus.FieldLogger) error {
	ctx, cancel := context.WithTimeout(ctx, introduction)
	defer cancel()
	services, err := servicesOf(ctx, path)
	if err != nil {
		return err
	}
	name := strings.ToLower(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)))
	register := map[string]func(){
		componentsv1.StateStore_ServiceDesc.ServiceName:    func() { set.State.Register(newState(path, services), name) },
		componentsv1.PubSub_ServiceDesc.ServiceName:        func() { set.PubSub.Register(newBroker(path), name) },
		componentsv1.InputBinding_ServiceDesc.ServiceName:  func() { set.InputBinding.Register(newInput(path), name) },
		componentsv1.OutputBinding_ServiceDesc.ServiceName: func() { set.OutputBinding.Register(newOutput(path), name) },
		componentsv1.SecretStore_ServiceDesc.ServiceName:   func() { set.SecretStore.Register(newSecretStore(path), name) },
	}
	for _, service := range services {
		if enter, known := register[service]; known {
			enter()
			log.Infof("pluggable component '%s' was successfully registered for '%s'", name, service)
		}
	}
	return nil
}

// servicesOf asks by reflection, in the version that Dapr's component SDKs serve.
func servicesOf(ctx context.Context, path string) ([]string, error) {
	conn, err := dial(path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stream, err := reflectionv1alpha.NewServerReflectionClient(conn).ServerReflectionInfo(ctx, grpc.WaitForReady(true))
	if err != nil {
		return nil, fmt.Errorf("ask for its services: %w", err)
	}
	err = stream.Send(&reflectionv1alpha.ServerReflectionRequest{
		MessageRequest: &reflectionv1alpha.ServerReflectionRequest_ListServices{ListServices: ""}})
	if err != nil {
		return nil, fmt.Errorf("ask for its services: %w", err)
	}
	answer, err := stream.Recv()
	if err != nil {
		return nil, fmt.Errorf("ask for its services: %w", err)
	}
	var services []string
	for _, service := range answer.GetListServicesResponse().GetService() {
		services = append(services, service.GetName())
	}
	slices.Sort(services)
	return services, nil
}
