package injector

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	// sidecarName is that of the sidecar's container; a pod that has one of that name is injected already.
	sidecarName = "daprd"
	// tokenFolder is where the sidecar finds its token for sentry; tokenVolume brings it.
	tokenFolder, tokenVolume = "/var/run/secrets/dapr.io/sentrytoken", "dapr-identity-token"
	// tokenSeconds is how long that token is valid; the kubelet renews it before.
	tokenSeconds = 7200
	// socketFolder is where the sidecar has the sockets of its APIs; socketVolume shares them with the application.
	socketFolder, socketVolume = "/var/run/dapr-sockets", "dapr-unix-domain-socket"
	// componentsVolume shares the sockets of pluggable components with the sidecar.
	componentsVolume = "dapr-components-unix-domain-socket"
	// startupSeconds is how long a native sidecar may take to be of use before it is started anew.
	startupSeconds = 180
)

// sidecar is the container daprd.
func (p *pod) sidecar() *corev1.Container {
	c := &corev1.Container{
		Name: sidecarName, Image: p.image(), ImagePullPolicy: corev1.PullPolicy(p.mesh.PullPolicy),
		Ports: p.containerPorts(), Env: p.sidecarEnv(), Resources: p.resources(), VolumeMounts: p.sidecarMounts(),
		SecurityContext: p.securityContext(),
	}
	c.Command, c.Args = p.command()
	c.ReadinessProbe = newProbe(p.settings.readiness, httpGet("/v1.0/healthz"))
	c.LivenessProbe = newProbe(p.settings.liveness, corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(publicPort)}})
	if p.native() {
		p.makeNative(c)
	}
	return c
}

// makeNative has the sidecar end after the application, and the application begin when the sidecar can be used: its
// components are there and the APIs listen. It does not wait for components that only begin with the application.
func (p *pod) makeNative(c *corev1.Container) {
	always := corev1.ContainerRestartPolicyAlways
	c.RestartPolicy = &always
	if len(p.pluggable) == 0 {
		c.StartupProbe = newProbe(probe{timeout: 1, period: 1, threshold: startupSeconds}, httpGet("/v1.0/healthz/outbound"))
	}
}

func (p *pod) native() bool {
	if p.settings.native != nil {
		return *p.settings.native
	}
	return p.mesh.Native
}

func (p *pod) image() string {
	if p.settings.image != "" {
		return p.settings.image
	}
	return p.mesh.Image
}

func (p *pod) command() (command, arguments []string) {
	arguments = p.arguments()
	switch {
	case p.settings.debug:
		return []string{"/dlv"}, append([]string{"--listen=:" + strconv.Itoa(p.settings.debugPort), "--accept-multiclient", "--headless=true", "--log",
			"--api-version=2", "exec", "/daprd", "--"}, arguments...)
	case p.onVirtualNode():
		return []string{"/daprd"}, arguments
	}
	return nil, append([]string{"/daprd"}, arguments...)
}

// onVirtualNode says whether the pod tolerates one of the nodes that do not run an image as others do.
func (p *pod) onVirtualNode() bool {
	return slices.ContainsFunc(p.Spec.Tolerations, func(has corev1.Toleration) bool {
		return slices.ContainsFunc(p.mesh.EntrypointTolerations, func(t corev1.Toleration) bool {
			return has.Key == t.Key && (has.Effect == t.Effect || has.Effect == "" || t.Effect == "")
		})
	})
}

func (p *pod) containerPorts() []corev1.ContainerPort {
	ports := []corev1.ContainerPort{
		{ContainerPort: httpPort, Name: "dapr-http"},
		{ContainerPort: int32(p.settings.grpcPort), Name: "dapr-grpc"},
		{ContainerPort: int32(p.settings.internalPort), Name: "dapr-internal"},
		{ContainerPort: int32(p.settings.metricsPort), Name: "dapr-metrics"},
	}
	if p.settings.debug {
		ports = append(ports, corev1.ContainerPort{ContainerPort: int32(p.settings.debugPort), Name: "dapr-debug"})
	}
	return ports
}

func httpGet(path string) corev1.ProbeHandler {
	return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(publicPort)}}
}

func newProbe(p probe, handler corev1.ProbeHandler) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: handler, InitialDelaySeconds: int32(p.delay), TimeoutSeconds: int32(p.timeout), PeriodSeconds: int32(p.period),
		FailureThreshold: int32(p.threshold)}
}

func (p *pod) securityContext() *corev1.SecurityContext {
	escalation, nonRoot, readOnly := false, p.mesh.RunAsNonRoot, p.mesh.ReadOnlyRootFilesystem
	c := &corev1.SecurityContext{AllowPrivilegeEscalation: &escalation, RunAsNonRoot: &nonRoot, ReadOnlyRootFilesystem: &readOnly,
		RunAsUser: p.mesh.User, RunAsGroup: p.mesh.Group}
	if p.installsCertificates() {
		administrator := "ContainerAdministrator"
		nonRoot, readOnly = false, false
		c.RunAsUser, c.RunAsGroup = nil, nil
		c.WindowsOptions = &corev1.WindowsSecurityContextOptions{RunAsUserName: &administrator}
	}
	if p.mesh.DropAllCapabilities {
		c.Capabilities = &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}
	}
	if p.settings.seccomp != "" {
		c.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileType(p.settings.seccomp)}
	}
	return c
}

// installsCertificates says whether the sidecar puts certificates into the store of Windows, for which it needs its
// administrator. Elsewhere SSL_CERT_DIR is read, and no right is given away for it.
func (p *pod) installsCertificates() bool {
	windows := p.Spec.NodeSelector[corev1.LabelOSStable] == string(corev1.Windows) || p.Spec.OS != nil && p.Spec.OS.Name == corev1.Windows
	return windows && slices.ContainsFunc(p.settings.env, func(v variable) bool { return v.name == "SSL_CERT_DIR" })
}

func (p *pod) resources() (r corev1.ResourceRequirements) {
	put := func(list *corev1.ResourceList, name corev1.ResourceName, q *resource.Quantity) {
		if q == nil {
			return
		}
		if *list == nil {
			*list = corev1.ResourceList{}
		}
		(*list)[name] = *q
	}
	put(&r.Requests, corev1.ResourceCPU, p.settings.resources.cpuRequest)
	put(&r.Requests, corev1.ResourceMemory, p.settings.resources.memoryRequest)
	put(&r.Limits, corev1.ResourceCPU, p.settings.resources.cpuLimit)
	put(&r.Limits, corev1.ResourceMemory, p.settings.resources.memoryLimit)
	return r
}

func (p *pod) sidecarMounts() (mounts []corev1.VolumeMount) {
	if p.settings.socketFolder != "" {
		mounts = append(mounts, corev1.VolumeMount{Name: socketVolume, MountPath: socketFolder})
	}
	mounts = append(mounts, p.volumeMounts("volume-mounts", p.settings.mounts, true)...)
	mounts = append(mounts, p.volumeMounts("volume-mounts-rw", p.settings.mountsRW, false)...)
	mounts = append(mounts, corev1.VolumeMount{Name: tokenVolume, ReadOnly: true, MountPath: tokenFolder})
	if len(p.pluggable) > 0 {
		mounts = append(mounts, p.componentsMount())
	}
	return mounts
}

// volumeMounts leaves out, and warns of, volumes that the pod does not have.
func (p *pod) volumeMounts(annotation string, wanted []mount, readOnly bool) (mounts []corev1.VolumeMount) {
	for _, m := range wanted {
		if !p.hasVolume(m.volume) {
			p.warnings = append(p.warnings, fmt.Sprintf("annotation %s%s names the volume %s, which the pod does not have", prefix, annotation, m.volume))
			continue
		}
		mounts = append(mounts, corev1.VolumeMount{Name: m.volume, MountPath: m.path, ReadOnly: readOnly})
	}
	return mounts
}

func (p *pod) hasVolume(name string) bool {
	return slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
}

func (p *pod) sidecarEnv() []corev1.EnvVar {
	env := []corev1.EnvVar{
		{Name: "NAMESPACE", Value: p.namespace},
		{Name: "DAPR_TRUST_ANCHORS", Value: p.anchors},
		fromField("POD_NAME", "metadata.name"),
		{Name: "DAPR_CONTROLPLANE_NAMESPACE", Value: p.mesh.Namespace},
		{Name: "DAPR_CONTROLPLANE_TRUST_DOMAIN", Value: p.mesh.TrustDomain},
	}
	if p.mesh.DownwardAPI {
		env = append(env, fromField("DAPR_HOST_IP", "status.podIP"))
	}
	var names []string
	for _, v := range slices.Concat(p.settings.env, p.settings.envFromSecret) {
		names = append(names, v.name)
		if v.secret == "" {
			env = append(env, corev1.EnvVar{Name: v.name, Value: v.value})
		} else {
			env = append(env, fromSecret(v.name, v.secret, v.key))
		}
	}
	if len(names) > 0 {
		env = append(env, corev1.EnvVar{Name: "DAPR_ENV_KEYS", Value: strings.Join(names, " ")})
	}
	if len(p.pluggable) > 0 {
		env = append(env, corev1.EnvVar{Name: socketsFolderVariable, Value: p.settings.socketsFolder})
	}
	if secret := p.settings.apiTokenSecret; secret != "" {
		env = append(env, fromSecret("DAPR_API_TOKEN", secret, "token"))
	}
	if secret := p.settings.appTokenSecret; secret != "" {
		env = append(env, fromSecret("APP_API_TOKEN", secret, "token"))
	}
	return env
}

func fromField(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
}

func fromSecret(name, secret, key string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: key}}}
}
