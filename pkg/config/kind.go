package config

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	group        = "dapr.io/"
	groupVersion = group + "v1alpha1"
)

// header is what every document tells about itself.
type header struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Meta       Meta   `yaml:"metadata"`
}

// keeper adds a document to the resources.
type keeper func(r *Resources, d document, root *yaml.Node) error

// purpose is how a document is kept, nil for one that is passed over. why is for the user: documents of
// other owners are none of our business, but one of Dapr's that has no effect is.
func (h header) purpose() (keep keeper, why string) {
	if !strings.HasPrefix(h.APIVersion, group) {
		return nil, ""
	}
	switch h.Kind {
	case "Component":
		keep = keepComponent
	case "HTTPEndpoint":
		keep = keepHTTPEndpoint
	case "Resiliency":
		keep = keepResiliency
	case "Subscription":
		if h.APIVersion == group+"v2alpha1" {
			return keepSubscription, ""
		}
		keep = keepSubscription
	case "WorkflowAccessPolicy", "MCPServer":
		return nil, fmt.Sprintf("the %s %s is passed over: this daprd does not have that kind yet", h.Kind, h.Meta.Name)
	default:
		return nil, ""
	}
	if h.APIVersion != groupVersion {
		return nil, fmt.Sprintf("the %s %s is passed over: its apiVersion is %s, want %s", h.Kind, h.Meta.Name, h.APIVersion, groupVersion)
	}
	return keep, ""
}

// keepComponent keeps an unusable one too: whether it matters is known where its scopes and its ignoreErrors
// count.
func keepComponent(r *Resources, d document, root *yaml.Node) error {
	c := Component{Origin: d.origin}
	c.Fault = d.into(root, &c)
	if c.Fault == nil {
		c.Fault = c.check()
	}
	r.Components = append(r.Components, c)
	return nil
}

func keepHTTPEndpoint(r *Resources, d document, root *yaml.Node) error {
	e := HTTPEndpoint{Origin: d.origin}
	if err := d.into(root, &e); err != nil {
		return err
	}
	r.HTTPEndpoints = append(r.HTTPEndpoints, e)
	return nil
}
