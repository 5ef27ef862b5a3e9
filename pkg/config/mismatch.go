package config

import (
	"fmt"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"
)

// Bounds of what is told about one document.
const (
	maxMismatches = 5
	maxCompared   = 100_000
)

// comparison holds a document against the type that it should fill and tells where they differ: the path of
// the field, the line, and what was expected. It never tells values, which may be secrets.
type comparison struct {
	document
	left  int
	found []string
}

// mismatches is empty for a document that has the form of value.
func (d document) mismatches(root *yaml.Node, value any) []string {
	c := comparison{document: d, left: maxCompared}
	c.compare(root, reflect.TypeOf(value), "")
	return c.found
}

func (c *comparison) compare(node *yaml.Node, t reflect.Type, path string) {
	c.left--
	if c.left < 0 || len(c.found) == maxMismatches {
		return
	}
	switch {
	case node.Kind == yaml.DocumentNode && len(node.Content) == 1:
		c.compare(node.Content[0], t, path)
	case node.Kind == yaml.AliasNode:
		c.compare(node.Alias, t, path)
	case t.Kind() == reflect.Pointer:
		c.compare(node, t.Elem(), path)
	case reflect.PointerTo(t).Implements(reflect.TypeFor[yaml.Unmarshaler]()):
		if err := node.Decode(reflect.New(t).Interface()); err != nil {
			c.tell(path, c.explain(err).Error())
		}
	case node.Kind == yaml.MappingNode && t.Kind() == reflect.Struct:
		c.fields(node, t, path)
	case node.Kind == yaml.MappingNode && t.Kind() == reflect.Map:
		for i := 0; i+1 < len(node.Content); i += 2 {
			c.compare(node.Content[i+1], t.Elem(), strings.TrimPrefix(path+"."+node.Content[i].Value, "."))
		}
	case node.Kind == yaml.SequenceNode && t.Kind() == reflect.Slice:
		for i, entry := range node.Content {
			c.compare(entry, t.Elem(), fmt.Sprintf("%s[%d]", path, i))
		}
	case node.Decode(reflect.New(t).Interface()) != nil:
		c.tell(path, fmt.Sprintf("line %d: want %s, found %s", c.line(node), expected(t), kind(node)))
	}
}

func (c *comparison) fields(node *yaml.Node, t reflect.Type, path string) {
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.Tag == "!!merge" {
			c.merged(value, t, path)
		}
		for j := range t.NumField() {
			if field := t.Field(j); field.Tag.Get("yaml") == key.Value {
				c.compare(value, field.Type, strings.TrimPrefix(path+"."+key.Value, "."))
			}
		}
	}
}

// merged compares what "<<" refers to: a mapping or a list of them.
func (c *comparison) merged(node *yaml.Node, t reflect.Type, path string) {
	if node.Kind != yaml.SequenceNode {
		c.compare(node, t, path)
		return
	}
	for _, source := range node.Content {
		c.compare(source, t, path)
	}
}

func (c *comparison) tell(path, what string) {
	if path != "" {
		what = path + ": " + what
	}
	c.found = append(c.found, what)
}

// expected names the form of a type in the words of YAML.
func expected(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Map:
		return "a mapping, each value " + expected(t.Elem())
	case reflect.Slice:
		return "a list, each entry " + expected(t.Elem())
	case reflect.Pointer:
		return expected(t.Elem())
	case reflect.Struct:
		return "a mapping with the keys " + strings.Join(keys(t), ", ")
	}
	return "a text"
}

func keys(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// kind names the form of a node.
func kind(node *yaml.Node) string {
	switch {
	case node.Kind == yaml.MappingNode:
		return "a mapping"
	case node.Kind == yaml.SequenceNode:
		return "a list"
	case node.ShortTag() == "!!int", node.ShortTag() == "!!float":
		return "a number"
	case node.ShortTag() == "!!bool":
		return "true or false"
	case node.ShortTag() == "!!null":
		return "nothing"
	}
	return "a text"
}
