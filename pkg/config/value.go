package config

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Value is a YAML value as text: a string as it is, null as "", anything else as its JSON text. Dapr reads
// manifests by the rules of YAML 1.1, so that an unquoted yes is true, 0777 is 511 and 1.0 is 1: components
// are given the same texts here.
type Value string

// UnmarshalYAML makes the text.
func (v *Value) UnmarshalYAML(node *yaml.Node) error {
	content, err := newTree(node)
	if err != nil {
		return unusable(err)
	}
	switch content := content.(type) {
	case nil:
		*v = ""
	case string:
		*v = Value(content)
	default:
		text, err := json.Marshal(content)
		if err != nil {
			return unusable(fmt.Errorf("line %d: the value has no JSON form: %w", node.Line, err))
		}
		*v = Value(text)
	}
	return nil
}

// unusable is an error of one field, after which the reader of YAML goes on with the others.
func unusable(err error) error { return &yaml.TypeError{Errors: []string{err.Error()}} }

// Unquote takes the quotes off a secret that is quoted in Go syntax; other texts stay. Dapr treats secrets as
// JSON texts, so that one which is a quoted string loses its quotes; values of a manifest do not.
func Unquote(text string) string {
	if len(text) >= 2 && strings.HasPrefix(text, `"`) {
		if unquoted, err := strconv.Unquote(text); err == nil {
			return unquoted
		}
	}
	return text
}
