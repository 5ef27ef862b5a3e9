package injector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// pod is one that gets a sidecar.
type pod struct {
	corev1.Pod
	settings *settings
	mesh     *Mesh
	// namespace is the request's: the pod need not name it.
	namespace, appID string
	// anchors are the roots that are trusted, in PEM; mtls is whether sidecars speak it to each other.
	anchors string
	mtls    bool

	// pluggable are the containers of the pod that are components, and then those that are added.
	pluggable []string
	added     []corev1.Container

	warnings []string
}

// injected says whether there is a sidecar already.
func injected(p *corev1.Pod) bool {
	named := func(c corev1.Container) bool { return c.Name == sidecarName }
	return slices.ContainsFunc(p.Spec.Containers, named) || slices.ContainsFunc(p.Spec.InitContainers, named)
}

// name gives the pod its app id. The error tells what to do.
func (p *pod) name() error {
	p.appID = p.settings.appID
	switch {
	case p.appID != "":
		return nil // the table has checked it
	case p.Name == "":
		return errors.New("annotation " + prefix + "app-id is missing, and the name of the pod, which would be the app id without it, is not known yet")
	case !isAppID(p.Name):
		return fmt.Errorf("annotation %sapp-id is missing, and the name of the pod, %q, cannot be the app id: %s-dapr has to be the name of a service, "+
			"of lower-case letters, digits and -, 63 at most", prefix, p.Name, p.Name)
	}
	p.appID = p.Name
	return nil
}

// patch is what makes the pod one with a sidecar.
func (p *pod) patch(ctx context.Context, components componentLister) (patch, error) {
	if err := p.findPluggable(ctx, components); err != nil {
		return nil, err
	}
	sidecar := p.sidecar()
	var made patch
	if len(p.Spec.Containers) == 0 {
		made.add([]any{}, "spec", "containers")
	}
	if p.Labels == nil {
		made.add(map[string]string{}, "metadata", "labels")
	}
	p.addVolumes(&made)
	if p.native() {
		made.appendTo(len(p.Spec.InitContainers), sidecar, "spec", "initContainers")
	} else {
		made.add(sidecar, "spec", "containers", "-")
	}
	for _, label := range [][2]string{{"sidecar-injected", "true"}, {"app-id", p.appID}, {"metrics-enabled", strconv.FormatBool(p.settings.metrics)}} {
		made.add(label[1], "metadata", "labels", prefix+label[0])
	}
	p.changeContainers(&made)
	for _, c := range p.added {
		made.add(c, "spec", "containers", "-")
	}
	return made, nil
}

func (p *pod) addVolumes(made *patch) {
	length := len(p.Spec.Volumes)
	for _, v := range p.volumes() {
		if !p.hasVolume(v.Name) {
			length = made.appendTo(length, v, "spec", "volumes")
		}
	}
}

func (p *pod) volumes() (all []corev1.Volume) {
	if p.settings.socketFolder != "" {
		all = append(all, emptyFolder(socketVolume, corev1.StorageMediumMemory))
	}
	seconds, mode := int64(tokenSeconds), corev1.ProjectedVolumeSourceDefaultMode
	all = append(all, corev1.Volume{Name: tokenVolume, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		DefaultMode: &mode,
		Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
			Audience: p.mesh.sentryID(), ExpirationSeconds: &seconds, Path: "token"}}},
	}}})
	if len(p.pluggable) > 0 {
		all = append(all, emptyFolder(componentsVolume, ""))
	}
	for _, c := range p.added {
		for _, m := range c.VolumeMounts {
			known := func(v corev1.Volume) bool { return v.Name == m.Name }
			if !slices.ContainsFunc(all, known) {
				all = append(all, emptyFolder(m.Name, ""))
			}
		}
	}
	return all
}

func emptyFolder(name string, medium corev1.StorageMedium) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: medium}}}
}

// changeContainers gives the application's containers the ports, and where asked for the sockets, of the sidecar, and the
// components their sockets.
func (p *pod) changeContainers(made *patch) {
	for i, c := range p.Spec.Containers {
		if slices.Contains(p.pluggable, c.Name) {
			addEnv(made, i, c.Env, []corev1.EnvVar{{Name: socketsFolderVariable, Value: p.settings.socketsFolder}})
			addMount(made, i, c.VolumeMounts, p.componentsMount())
			continue
		}
		addEnv(made, i, c.Env, []corev1.EnvVar{
			{Name: "DAPR_HTTP_PORT", Value: strconv.Itoa(httpPort)},
			{Name: "DAPR_GRPC_PORT", Value: strconv.Itoa(p.settings.grpcPort)},
			{Name: "APP_PROTOCOL", Value: p.settings.appProtocol},
		})
		if p.settings.socketFolder != "" {
			addMount(made, i, c.VolumeMounts, corev1.VolumeMount{Name: socketVolume, MountPath: p.settings.socketFolder})
		}
	}
}

// addEnv leaves variables that the container has as they are.
func addEnv(made *patch, container int, has, wanted []corev1.EnvVar) {
	length := len(has)
	for _, v := range wanted {
		if !slices.ContainsFunc(has, func(h corev1.EnvVar) bool { return h.Name == v.Name }) {
			length = made.appendTo(length, v, "spec", "containers", index(container), "env")
		}
	}
}

// addMount leaves a place that is taken as it is.
func addMount(made *patch, container int, has []corev1.VolumeMount, wanted corev1.VolumeMount) {
	if !slices.ContainsFunc(has, func(h corev1.VolumeMount) bool { return h.MountPath == wanted.MountPath }) {
		made.appendTo(len(has), wanted, "spec", "containers", index(container), "volumeMounts")
	}
}
