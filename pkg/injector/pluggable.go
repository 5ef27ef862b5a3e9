package injector

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// socketsFolderVariable tells components and sidecar where the sockets are.
const socketsFolderVariable = "DAPR_COMPONENT_SOCKETS_FOLDER"

// component is what counts of a resource of kind Component.
type component struct {
	Metadata struct {
		Name        string            `json:"name"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Scopes []string `json:"scopes"`
}

// componentLister gives the Components of a namespace.
type componentLister interface {
	components(ctx context.Context, namespace string) ([]component, error)
}

// findPluggable finds which containers are components.
func (p *pod) findPluggable(ctx context.Context, lister componentLister) error {
	for _, name := range p.settings.pluggable {
		if !slices.ContainsFunc(p.Spec.Containers, func(c corev1.Container) bool { return c.Name == name }) {
			p.warnings = append(p.warnings, fmt.Sprintf("annotation %spluggable-components names the container %s, which the pod does not have", prefix, name))
			continue
		}
		p.pluggable = append(p.pluggable, name)
	}
	if !p.settings.injectPluggable {
		return nil
	}
	all, err := lister.components(ctx, p.namespace)
	if err != nil {
		return fmt.Errorf("annotation %sinject-pluggable-components: the Components of namespace %s cannot be read: %w", prefix, p.namespace, err)
	}
	for _, c := range all {
		if err := p.addComponent(&c); err != nil {
			return fmt.Errorf("annotation %scomponent-container of Component %s: %w", prefix, c.Metadata.Name, err)
		}
	}
	return nil
}

// addComponent adds the container that a Component describes, unless the pod has one of that name.
func (p *pod) addComponent(c *component) error {
	text, described := c.Metadata.Annotations[prefix+"component-container"]
	if !described || len(c.Scopes) > 0 && !slices.Contains(c.Scopes, p.appID) {
		return nil
	}
	var made corev1.Container
	if err := json.Unmarshal([]byte(text), &made); err != nil {
		return fmt.Errorf(`it takes a container as JSON, {"image":"example.com/store:1"} for one: %w`, err)
	}
	if made.Name == "" {
		made.Name = c.Metadata.Name
	}
	switch {
	case made.Image == "":
		return fmt.Errorf("the container has no image")
	case len(validation.IsDNS1123Label(made.Name)) > 0 || made.Name == sidecarName:
		return fmt.Errorf("%q cannot be the name of the container; the field name gives it another one", made.Name)
	case slices.ContainsFunc(slices.Concat(p.Spec.Containers, p.Spec.InitContainers, p.added), func(has corev1.Container) bool { return has.Name == made.Name }):
		return nil
	}
	made.Env = append(made.Env, corev1.EnvVar{Name: socketsFolderVariable, Value: p.settings.socketsFolder})
	made.VolumeMounts = append(made.VolumeMounts, p.componentsMount())
	p.added = append(p.added, made)
	p.pluggable = append(p.pluggable, made.Name)
	return nil
}

func (p *pod) componentsMount() corev1.VolumeMount {
	return corev1.VolumeMount{Name: componentsVolume, MountPath: p.settings.socketsFolder}
}
