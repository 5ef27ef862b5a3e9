package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// document is one of a file's.
type document struct {
	text   []byte
	origin Origin
}

// split cuts a file at the lines that begin with "---". Parts without content do not count.
func split(path string, text []byte) (documents []document) {
	var start, offset int
	first, line := 1, 1
	cut := func() {
		if body := text[start:offset]; hasContent(body) {
			documents = append(documents, document{body, Origin{File: path, Document: len(documents) + 1, Line: first}})
		}
	}
	for l := range bytes.Lines(text) {
		if bytes.HasPrefix(l, []byte("---")) {
			cut()
			start, first = offset, line
		}
		offset += len(l)
		line++
	}
	cut()
	return documents
}

// hasContent says whether there is more than separators, directives, comments and blank lines.
func hasContent(text []byte) bool {
	for l := range bytes.Lines(text) {
		l = bytes.TrimSpace(bytes.TrimPrefix(l, []byte("---")))
		if len(l) > 0 && l[0] != '#' && l[0] != '%' {
			return true
		}
	}
	return false
}

// decode reads the first document of text.
func decode(text []byte, into any) error {
	err := yaml.NewDecoder(bytes.NewReader(text)).Decode(into)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// node reads the document; twice names the keys that stand twice in one mapping. The last one of them
// holds, as in Dapr, where yaml.v3 would refuse the whole document.
func (d document) node() (root *yaml.Node, twice []string, err error) {
	root = new(yaml.Node)
	if err := decode(d.text, root); err != nil {
		return nil, nil, d.explain(err)
	}
	d.unite(root, &twice)
	return root, twice, nil
}

// into decodes the document; its error tells fields and lines of the file. What has the right form is
// decoded all the same.
func (d document) into(root *yaml.Node, value any) error {
	err := root.Decode(value)
	if err == nil {
		return nil
	}
	if found := d.mismatches(root, value); len(found) > 0 {
		return errors.New(strings.Join(found, "; "))
	}
	return d.explain(err)
}

// line is that of the file where the node stands.
func (d document) line(node *yaml.Node) int { return node.Line + d.origin.Line - 1 }

func (d document) unite(node *yaml.Node, twice *[]string) {
	if node.Kind == yaml.MappingNode {
		d.uniteKeys(node, twice)
	}
	for _, inner := range node.Content {
		d.unite(inner, twice)
	}
}

func (d document) uniteKeys(node *yaml.Node, twice *[]string) {
	places := make(map[string]int, len(node.Content)/2)
	kept := node.Content[:0]
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		place, seen := places[key.Value]
		if key.Kind != yaml.ScalarNode || !seen {
			places[key.Value] = len(kept)
			kept = append(kept, key, value)
			continue
		}
		*twice = append(*twice, fmt.Sprintf("%s (line %d)", key.Value, d.line(key)))
		kept[place+1] = value
	}
	node.Content = kept
}

// explain makes the lines of a YAML error those of the file, puts it on one line, and takes the values, which
// may be secrets, out of it.
func (d document) explain(err error) error {
	text := regexp.MustCompile(`line (\d+)`).ReplaceAllStringFunc(err.Error(), func(found string) string {
		n, _ := strconv.Atoi(strings.TrimPrefix(found, "line "))
		return "line " + strconv.Itoa(n+d.origin.Line-1)
	})
	text = regexp.MustCompile("(?s) `.*?` into ").ReplaceAllString(text, " into ")
	return errors.New(strings.NewReplacer("yaml: unmarshal errors:\n  ", "", "\n  ", "; ").Replace(text))
}
