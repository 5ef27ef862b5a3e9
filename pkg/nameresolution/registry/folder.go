package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// Path is where the sidecars of this user on this machine meet: the folder
// "daprd" in $XDG_RUNTIME_DIR, or, where that is not set to a folder, one of the
// user's own under the folder for temporary files.
func Path() string {
	if runtime := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(runtime) {
		if info, err := os.Stat(runtime); err == nil && info.IsDir() {
			return filepath.Join(runtime, "daprd")
		}
	}
	return filepath.Join(os.TempDir(), "daprd-"+strconv.Itoa(os.Geteuid()))
}

// openFolder opens the folder, and makes it if it is missing. It refuses one into
// which another user could put entries: names there decide where calls go.
func openFolder(path string) (*os.Root, error) {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make registry folder: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open registry folder: %w", err)
	}
	if err := checkFolder(path, root); err != nil {
		return nil, errors.Join(fmt.Errorf("registry folder %s %w; remove it or set XDG_RUNTIME_DIR to a folder of your own", path, err), root.Close())
	}
	return root, nil
}

// checkFolder looks at the folder that was opened, and makes sure that the path
// names the same one and not a link to it.
func checkFolder(path string, root *os.Root) error {
	named, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("cannot be looked at: %w", err)
	}
	opened, err := root.Stat(".")
	switch {
	case err != nil:
		return fmt.Errorf("cannot be looked at: %w", err)
	case named.Mode()&fs.ModeSymlink != 0:
		return errors.New("is a symbolic link")
	case !os.SameFile(named, opened):
		return errors.New("was replaced while it was opened")
	case !opened.IsDir():
		return errors.New("is no folder")
	case opened.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("is open to other users (mode %#o, must be 0700)", opened.Mode().Perm())
	}
	return checkOwner(opened)
}
