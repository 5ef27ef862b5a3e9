package kube

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/daprd/daprd/pkg/cluster"
)

// Container is what a kubelet would start a container of a pod with.
type Container struct {
	corev1.Container
	// Pod is the pod as the API server has it.
	Pod *corev1.Pod
	// Line is the command with its arguments, the values of variables put in.
	Line []string
	// Variables are those of the environment, NAME=value.
	Variables []string
	// Folders are the mounted volumes on this machine by the paths where the container has them.
	Folders map[string]string
	// Home is a home folder in which clients of the API server find it, with the rights of the pod's service account.
	Home string

	server *Server
}

// Container reads a pod. Its name may be that of an init container. Of volumes it knows ConfigMaps and what is projected
// of them and of service accounts' tokens; others are left out.
func (s *Server) Container(t testing.TB, namespace, pod, name string) *Container {
	t.Helper()
	c := &Container{server: s, Pod: new(corev1.Pod), Folders: map[string]string{}}
	if err := s.Client(t).Get(t.Context(), c.Pod, "api", "v1", "namespaces", namespace, "pods", pod); err != nil {
		t.Fatal(err)
	}
	for _, one := range append(c.Pod.Spec.InitContainers, c.Pod.Spec.Containers...) {
		if one.Name == name {
			c.Container = one
		}
	}
	if c.Name == "" {
		t.Fatalf("the pod %s of namespace %s has no container %s", pod, namespace, name)
	}
	c.Line = append(append(c.Line, c.Command...), c.Args...)
	for _, v := range c.Env {
		value := c.value(t, &v)
		c.Variables = append(c.Variables, v.Name+"="+value)
		for i := range c.Line {
			c.Line[i] = strings.ReplaceAll(c.Line[i], "$("+v.Name+")", value)
		}
	}
	for _, m := range c.VolumeMounts {
		c.Folders[m.MountPath] = t.TempDir()
	}
	c.Refresh(t)
	c.Home = t.TempDir()
	c.put(t, filepath.Join(c.Home, ".kube", "config"), s.kubeconfig(s.way(), s.Token(t, namespace, c.Pod.Spec.ServiceAccountName, pod)))
	return c
}

func (s *Server) way() string {
	if s.Way != "" {
		return s.Way
	}
	return s.Address
}

// value is that of a variable.
func (c *Container) value(t testing.TB, v *corev1.EnvVar) string {
	t.Helper()
	switch from := v.ValueFrom; {
	case from == nil:
		return v.Value
	case from.FieldRef != nil && from.FieldRef.FieldPath == "metadata.name":
		return c.Pod.Name
	case from.FieldRef != nil && from.FieldRef.FieldPath == "metadata.namespace":
		return c.Pod.Namespace
	case from.FieldRef != nil && from.FieldRef.FieldPath == "status.podIP":
		return "127.0.0.1"
	case from.SecretKeyRef != nil:
		var found corev1.Secret
		if err := c.server.Client(t).Get(t.Context(), &found, "api", "v1", "namespaces", c.Pod.Namespace, "secrets", from.SecretKeyRef.Name); err != nil {
			t.Fatal(err)
		}
		return string(found.Data[from.SecretKeyRef.Key])
	}
	t.Fatalf("the variable %s is of an unknown kind", v.Name)
	return ""
}

// Refresh has the mounted volumes be what the API server has now, as a kubelet does from time to time.
func (c *Container) Refresh(t testing.TB) {
	t.Helper()
	for _, m := range c.VolumeMounts {
		for _, v := range c.Pod.Spec.Volumes {
			if v.Name != m.Name {
				continue
			}
			if v.ConfigMap != nil {
				c.configMap(t, c.Folders[m.MountPath], v.ConfigMap.Name)
			}
			if v.Projected != nil {
				c.projected(t, c.Folders[m.MountPath], v.Projected.Sources)
			}
		}
	}
}

func (c *Container) projected(t testing.TB, folder string, sources []corev1.VolumeProjection) {
	t.Helper()
	for _, source := range sources {
		if source.ConfigMap != nil {
			c.configMap(t, folder, source.ConfigMap.Name)
		}
		if token := source.ServiceAccountToken; token != nil {
			var audiences []string
			if token.Audience != "" {
				audiences = []string{token.Audience}
			}
			c.put(t, filepath.Join(folder, token.Path), c.server.Token(t, c.Pod.Namespace, c.Pod.Spec.ServiceAccountName, c.Pod.Name, audiences...))
		}
	}
}

// configMap leaves the folder empty where there is none: the roots of the API server, which a controller would bring.
func (c *Container) configMap(t testing.TB, folder, name string) {
	t.Helper()
	var found corev1.ConfigMap
	err := c.server.Client(t).Get(t.Context(), &found, "api", "v1", "namespaces", c.Pod.Namespace, "configmaps", name)
	if cluster.Is(err, http.StatusNotFound) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range found.Data {
		c.put(t, filepath.Join(folder, file), text)
	}
}

// put replaces a file in one step.
func (c *Container) put(t testing.TB, path, text string) {
	t.Helper()
	err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path+".new", []byte(text), 0o600))
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		t.Fatal(err)
	}
}
