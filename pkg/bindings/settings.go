package bindings

import (
	"fmt"
	"strings"
)

// The properties of a component that are meant for the block. Their names match in any case.
const (
	propertyRoute     = "route"
	propertyDirection = "direction"
)

// The words of the property direction.
const (
	input  = "input"
	output = "output"
)

// Settings are what the block itself reads of a component's properties. The zero Settings are those of a component that
// says nothing: both sides, and the application is asked whether it wants the events.
type Settings struct {
	// Route is the path of an HTTP application that takes the events; "" for the component's name.
	Route string
	// Input and Output are the sides that the manifest asks for; neither means both.
	Input, Output bool
}

// ParseSettings reads them. Errors name the property.
func ParseSettings(properties map[string]string) (Settings, error) {
	settings := Settings{Route: property(properties, propertyRoute)}
	for word := range strings.SplitSeq(property(properties, propertyDirection), ",") {
		switch strings.ToLower(strings.TrimSpace(word)) {
		case "":
		case input:
			settings.Input = true
		case output:
			settings.Output = true
		default:
			return Settings{}, fmt.Errorf(`metadata property %s: want %s, %s or "%[2]s, %[3]s", not %q`,
				propertyDirection, input, output, strings.TrimSpace(word))
		}
	}
	return settings, nil
}

// WantsInput says whether the component's input is to be made.
func (s Settings) WantsInput() bool { return s.Input || !s.Output }

// WantsOutput says whether the component's output is to be made.
func (s Settings) WantsOutput() bool { return s.Output || !s.Input }

func property(properties map[string]string, name string) string {
	if value, ok := properties[name]; ok {
		return value
	}
	for candidate, value := range properties {
		if strings.EqualFold(candidate, name) {
			return value
		}
	}
	return ""
}
