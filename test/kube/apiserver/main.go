// Command apiserver is the API server of Kubernetes, built for tests: it is a module of its own, since it brings versions
// of Kubernetes' packages that the sidecar has nothing to do with.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() { os.Exit(cli.Run(app.NewAPIServerCommand())) }
