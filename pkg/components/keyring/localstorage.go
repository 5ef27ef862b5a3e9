package keyring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/crypto"
)

// maxKeyFile bounds a key file, in bytes: the largest RSA keys take some thousand.
const maxKeyFile = 1 << 20

// folder reads a key from its file at each use: what is changed there is in force at once.
type folder struct{ root *os.Root }

// NewLocalStorage is the factory of crypto.dapr.localstorage.
func NewLocalStorage(_ context.Context, spec *components.Spec) (crypto.Provider, error) {
	var settings struct {
		Path string `metadata:"path,required"`
	}
	if err := components.Decode(spec, &settings); err != nil {
		return nil, err
	}
	info, err := os.Stat(settings.Path)
	if err != nil {
		return nil, fmt.Errorf("metadata property path: %w; it names the folder of the keys", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("metadata property path: path '%s' is not a directory", settings.Path)
	}
	root, err := os.OpenRoot(settings.Path)
	if err != nil {
		return nil, fmt.Errorf("metadata property path: %w", err)
	}
	return localStorage{provider{folder{root}}, root}, nil
}

// localStorage is a provider with a folder to close.
type localStorage struct {
	provider
	root *os.Root
}

// Close lets go of the folder.
func (l localStorage) Close() error { return l.root.Close() }

func (f folder) key(_ context.Context, name string) (*key, error) {
	k, err := f.load(name)
	if err != nil {
		return nil, fmt.Errorf("failed to load key '%s': %w", name, err)
	}
	return k, nil
}

// load cannot leave the folder, by symbolic links neither: os.Root sees to that.
func (f folder) load(name string) (*key, error) {
	if slices.Contains(strings.Split(filepath.ToSlash(name), "/"), "..") {
		return nil, errors.New("invalid key path: cannot contain '..'")
	}
	file, err := f.root.Open(strings.TrimLeft(filepath.Clean(name), string(filepath.Separator)))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(content) > maxKeyFile:
		return nil, fmt.Errorf("the file holds more than %d bytes", maxKeyFile)
	case len(content) == 0:
		return nil, errors.New("the file is empty")
	}
	return parse(name, content)
}
