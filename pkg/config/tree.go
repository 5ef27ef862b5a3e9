package config

import (
	"encoding/base64"
	"fmt"

	"gopkg.in/yaml.v3"
)

// Bounds of one value with its aliases resolved: a few lines of YAML can stand for billions of nodes, or for
// a value that contains itself.
const (
	maxNodes = 100_000
	maxText  = maxFile
)

// tree makes the values that JSON knows of YAML nodes: nil, bool, int64, uint64, float64, string, []any,
// map[string]any.
type tree struct{ nodes, text int }

func newTree(node *yaml.Node) (any, error) {
	t := tree{nodes: maxNodes, text: maxText}
	return t.value(node)
}

func (t *tree) value(node *yaml.Node) (any, error) {
	t.nodes--
	t.text -= len(node.Value)
	if t.nodes < 0 || t.text < 0 {
		return nil, fmt.Errorf("line %d: the value has more than %d parts or %d MiB", node.Line, maxNodes, maxText>>20)
	}
	switch node.Kind {
	case yaml.AliasNode:
		return t.value(node.Alias)
	case yaml.SequenceNode:
		return t.list(node)
	case yaml.MappingNode:
		return t.object(node)
	}
	return scalar(node)
}

func (t *tree) list(node *yaml.Node) (any, error) {
	list := make([]any, 0, len(node.Content))
	for _, entry := range node.Content {
		value, err := t.value(entry)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	return list, nil
}

func (t *tree) object(node *yaml.Node) (any, error) {
	object := make(map[string]any, len(node.Content)/2)
	var merged []*yaml.Node
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.Tag == "!!merge" {
			merged = append(merged, value)
			continue
		}
		name, err := t.key(key)
		if err != nil {
			return nil, err
		}
		if object[name], err = t.value(value); err != nil {
			return nil, err
		}
	}
	for _, from := range merged {
		if err := t.merge(object, from); err != nil {
			return nil, err
		}
	}
	return object, nil
}

// merge adds what "<<" refers to where the object does not have it itself; of a list earlier ones win.
func (t *tree) merge(object map[string]any, from *yaml.Node) error {
	value, err := t.value(from)
	if err != nil {
		return err
	}
	sources, ok := value.([]any)
	if !ok {
		sources = []any{value}
	}
	for _, source := range sources {
		entries, ok := source.(map[string]any)
		if !ok {
			return fmt.Errorf("line %d: << takes a mapping or a list of mappings", from.Line)
		}
		for name, value := range entries {
			if _, has := object[name]; !has {
				object[name] = value
			}
		}
	}
	return nil
}

// key is the name of an entry as JSON can have it.
func (t *tree) key(node *yaml.Node) (string, error) {
	value, err := t.value(node)
	if err != nil {
		return "", err
	}
	switch value.(type) {
	case string, bool, int64, uint64, float64:
		return fmt.Sprint(value), nil
	}
	return "", fmt.Errorf("line %d: a key must be a text, a number or a boolean", node.Line)
}

func scalar(node *yaml.Node) (any, error) {
	tagged := node.Style&yaml.TaggedStyle != 0
	switch {
	case tagged && node.Tag == "!!binary":
		bytes, err := base64.StdEncoding.DecodeString(node.Value)
		if err != nil {
			return nil, fmt.Errorf("line %d: !!binary takes base64: %w", node.Line, err)
		}
		return string(bytes), nil
	case tagged && node.Tag == "!!str", node.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return node.Value, nil
	}
	return plain(node.Value), nil
}
