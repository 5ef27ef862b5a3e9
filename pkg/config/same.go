package config

import "reflect"

// Same says whether two components have the same content, wherever it stands.
func (c *Component) Same(other *Component) bool {
	a, b := *c, *other
	a.Origin, b.Origin = Origin{}, Origin{}
	a.Fault, b.Fault = nil, nil
	return reflect.DeepEqual(a, b) && sameText(c.Fault, other.Fault)
}

// Same says whether two endpoints have the same content, wherever it stands.
func (e *HTTPEndpoint) Same(other *HTTPEndpoint) bool {
	a, b := *e, *other
	a.Origin, b.Origin = Origin{}, Origin{}
	return reflect.DeepEqual(a, b)
}

// Same says whether two resources have the same content, wherever it stands.
func (r *Resiliency) Same(other *Resiliency) bool {
	return reflect.DeepEqual(r.Meta, other.Meta) && reflect.DeepEqual(r.Spec, other.Spec) && reflect.DeepEqual(r.Scopes, other.Scopes) &&
		sameText(r.Fault, other.Fault)
}

func sameText(a, b error) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return a.Error() == b.Error()
}

// Changed are the parts of the spec in which two Configurations differ, by their keys.
func (c *Configuration) Changed(other *Configuration) (keys []string) {
	a, b := reflect.ValueOf(c.Spec), reflect.ValueOf(other.Spec)
	for i := range a.NumField() {
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			keys = append(keys, a.Type().Field(i).Tag.Get("yaml"))
		}
	}
	return keys
}

// Same says whether two subscriptions have the same content, wherever it stands.
func (s *Subscription) Same(other *Subscription) bool {
	a, b := *s, *other
	a.Origin, b.Origin = Origin{}, Origin{}
	return reflect.DeepEqual(a, b)
}
