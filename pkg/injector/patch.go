package injector

import (
	"encoding/json"
	"strconv"
	"strings"
)

// operation is one of a JSON patch; all that are needed here add.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// patch is a JSON patch that grows.
type patch []operation

// add puts value at a path of plain segments.
func (p *patch) add(value any, path ...string) {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	var full strings.Builder
	for _, segment := range path {
		full.WriteString("/" + escape.Replace(segment))
	}
	*p = append(*p, operation{"add", full.String(), value})
}

// appendTo puts value behind the length values of the list at path, and first makes the list where there is none. It gives
// the new length.
func (p *patch) appendTo(length int, value any, path ...string) int {
	if length == 0 {
		p.add([]any{}, path...)
	}
	p.add(value, append(path[:len(path):len(path)], "-")...)
	return length + 1
}

func (p patch) marshal() ([]byte, error) { return json.Marshal(p) }

func index(i int) string { return strconv.Itoa(i) }
