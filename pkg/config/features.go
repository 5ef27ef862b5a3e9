package config

// NoDefaultContentType is the feature that leaves calls to the application without a content type when
// their caller sent none.
const NoDefaultContentType = "ServiceInvocation.NoDefaultContentType"

// Feature switches a preview feature. Unknown names do no harm.
type Feature struct {
	Name    string `yaml:"name"`
	Enabled bool   `yaml:"enabled"`
}

// FeatureEnabled says whether the feature is listed and on. Of a feature that is listed twice the first entry
// counts.
func (c *Configuration) FeatureEnabled(name string) bool {
	for _, f := range c.Spec.Features {
		if f.Name == name {
			return f.Enabled
		}
	}
	return false
}

// EnabledFeatures are the names of those that are on.
func (c *Configuration) EnabledFeatures() (names []string) {
	for _, f := range c.Spec.Features {
		if f.Enabled {
			names = append(names, f.Name)
		}
	}
	return names
}
