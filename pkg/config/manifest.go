package config

import (
	"encoding/base64"
	"fmt"
)

// Manifest is a resource that comes from elsewhere than a file.
type Manifest struct {
	// Kind is Component, HTTPEndpoint, Resiliency or Subscription: an API that gives resources of one kind leaves it out
	// of their texts.
	Kind string
	// Text is JSON or YAML.
	Text []byte
}

// ReadManifests reads resources by the rules of ReadFolders; source is whom they are from, for error texts.
func ReadManifests(source string, manifests []Manifest) (*Resources, error) {
	r := &Resources{}
	for _, m := range manifests {
		keep, _ := header{APIVersion: groupVersion, Kind: m.Kind}.purpose()
		if keep == nil {
			return nil, fmt.Errorf("resources of kind %s are not read", m.Kind)
		}
		d := document{text: m.Text, origin: Origin{File: fmt.Sprintf("the %s of %s", m.Kind, source), Line: 1}}
		var head header
		root, _, err := d.node()
		if err == nil {
			err = d.into(root, &head)
			d.origin.File = fmt.Sprintf("the %s %s of %s", m.Kind, head.Meta.Name, source)
		}
		if err == nil {
			err = keep(r, d, root)
		}
		if err != nil {
			r.unreadable(d.origin.File)
			r.warn("%s is passed over: %s", d.origin, err)
		}
	}
	return r, r.checkNames()
}

// ParseConfiguration reads a Configuration from elsewhere than a file over the defaults; source is whom it is from, for
// error texts.
func ParseConfiguration(source string, text []byte) (*Configuration, error) {
	c := DefaultConfiguration()
	err := c.decode(source, string(text))
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("error loading configuration: %w", err)
	}
	return c, nil
}

// GiveSecrets treats the properties that refer to a secret of the store, or of no store by name, as a cluster's operator
// gives them: it has put the secret's value in, in base64. What it has not found stays a reference, to the store. The
// errors are those of values that are no base64.
func (r *Resources) GiveSecrets(store string) (errs []error) {
	give := func(of fmt.Stringer, auth *Auth, properties ...*Property) {
		if auth.SecretStore == "" {
			auth.SecretStore = store
		}
		if auth.SecretStore != store {
			return
		}
		for _, p := range properties {
			if p.SecretKeyRef.Name == "" || p.Value == "" {
				continue
			}
			value, err := base64.StdEncoding.DecodeString(string(p.Value))
			if err != nil {
				errs = append(errs, fmt.Errorf("error decoding secret: the property %s of %s is no base64", p.Name, of))
				continue
			}
			p.Value, p.Given = Value(value), true
		}
	}
	for i := range r.Components {
		give(&r.Components[i], &r.Components[i].Auth, pointers(r.Components[i].Spec.Metadata)...)
	}
	for i := range r.HTTPEndpoints {
		e := &r.HTTPEndpoints[i]
		properties := pointers(e.Spec.Headers)
		if t := e.Spec.ClientTLS; t != nil {
			properties = append(properties, &t.RootCA, &t.Certificate, &t.PrivateKey)
		}
		give(e, &e.Auth, properties...)
	}
	return errs
}

func pointers(list []Property) (all []*Property) {
	for i := range list {
		all = append(all, &list[i])
	}
	return all
}
