package config

import (
	"encoding/json"
	"fmt"

	"gopkg.in/yaml.v3"
)

// NameResolutionSpec chooses the resolver; an empty Component is the mode's default.
type NameResolutionSpec struct {
	Component string `yaml:"component"`
	Version   string `yaml:"version"`
	// Configuration is free-form; Properties makes texts of it.
	Configuration FreeForm `yaml:"configuration"`
}

// FreeForm is a mapping of any content: values that JSON knows.
type FreeForm map[string]any

// UnmarshalYAML takes a mapping with keys that JSON knows.
func (f *FreeForm) UnmarshalYAML(node *yaml.Node) error {
	content, err := newTree(node)
	if err != nil {
		return unusable(err)
	}
	object, ok := content.(map[string]any)
	if !ok {
		return unusable(fmt.Errorf("line %d: want a mapping of names to values", node.Line))
	}
	*f = object
	return nil
}

// Properties turns free-form configuration into properties as texts: texts as they are, anything else as
// JSON.
func Properties(free map[string]any) (map[string]string, error) {
	texts := make(map[string]string, len(free))
	for name, value := range free {
		if text, ok := value.(string); ok {
			texts[name] = text
			continue
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("the value of %s has no JSON form: %w", name, err)
		}
		texts[name] = string(text)
	}
	return texts, nil
}
