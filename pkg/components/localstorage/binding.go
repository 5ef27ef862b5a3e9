// Package localstorage is the output binding bindings.localstorage: files below one folder of this machine. Nothing
// that a request names leads out of the folder, links in it included.
package localstorage

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/resiliency"
)

type settings struct {
	RootPath    string `metadata:"rootPath,required"`
	MaxFileSize string `metadata:"maxFileSize" default:"256Mi"`
}

// binding keeps files below root.
type binding struct {
	root *os.Root
	// path is the folder as its manifest names it, absolute: lists show it.
	path  string
	limit int64
}

// NewOutput makes bindings.localstorage.
func NewOutput(_ context.Context, spec *components.Spec) (bindings.Output, error) {
	var s settings
	if err := components.Decode(spec, &s); err != nil {
		return nil, err
	}
	limit, err := config.ParseQuantity(s.MaxFileSize)
	if err == nil && limit <= 0 {
		err = errors.New("it has to be more than 0")
	}
	if err != nil {
		return nil, fmt.Errorf("metadata property maxFileSize: %w", err)
	}
	root, path, err := openRoot(s.RootPath)
	if err != nil {
		return nil, fmt.Errorf("metadata property rootPath: %w", err)
	}
	return &binding{root, path, limit}, nil
}

// Operations are those on files.
func (b *binding) Operations() []string { return []string{"create", "get", "list", "delete"} }

// Close frees the folder.
func (b *binding) Close() error { return b.root.Close() }

// Invoke runs one operation.
func (b *binding) Invoke(ctx context.Context, req *bindings.Request) (*bindings.Response, error) {
	given := req.Metadata["fileName"]
	name, err := relative(given)
	if err != nil {
		return nil, err
	}
	switch {
	case req.Operation == "list":
		return b.list(ctx, name)
	case name == "." && req.Operation == "create" && given == "":
		name = uuid.NewString()
	case name == ".":
		return nil, fmt.Errorf(`the metadata "fileName" is missing or names the root itself: want the path of a file below it`)
	}
	switch req.Operation {
	case "create":
		return b.create(name, decoded(req.Data))
	case "get":
		return b.get(name)
	case "delete":
		return nil, b.told("delete", name, b.root.Remove(name))
	}
	return nil, fmt.Errorf("operation %s is not there", req.Operation)
}

// longestName is the longest path that systems take.
const longestName = 4096

// relative is a file's name as a path below the root: a leading slash is the root itself, and ".." stops there. "." is
// the root.
func relative(name string) (string, error) {
	switch {
	case strings.ContainsRune(name, 0):
		return "", errors.New(`the metadata "fileName" holds a NUL`)
	case len(name) > longestName:
		return "", fmt.Errorf(`the metadata "fileName" has %d bytes; %d are the most`, len(name), longestName)
	}
	if clean := strings.TrimPrefix(path.Clean("/"+name), "/"); clean != "" {
		return clean, nil
	}
	return ".", nil
}

// decoded is a file's content: of a quoted string what is in the quotes, and of base64 what it stands for, as in Dapr.
func decoded(data []byte) []byte {
	var text string
	if len(data) > 1 && data[0] == '"' && json.Unmarshal(data, &text) == nil {
		data = []byte(text)
	}
	if plain, err := base64.StdEncoding.AppendDecode(nil, data); err == nil {
		return plain
	}
	return data
}

// told names operation and file of a failure, by the name that the caller knows; of a file that is not there the place.
func (b *binding) told(operation, name string, err error) error {
	if err == nil {
		return nil
	}
	var failed *os.PathError
	var renamed *os.LinkError
	switch {
	case errors.As(err, &failed):
		err = failed.Err
	case errors.As(err, &renamed):
		err = renamed.Err
	}
	if errors.Is(err, os.ErrNotExist) {
		// The text is Dapr's.
		return resiliency.Mistake(http.StatusNotFound, fmt.Errorf("file not found: %s", filepath.Join(b.path, filepath.FromSlash(name))))
	}
	return fmt.Errorf("%s %s: %w", operation, name, err)
}
