package localstorage

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// system are folders whose files are the system's, the sidecar's or its secrets: nothing in them, and nothing around
// them, can be a root. Besides Dapr's four, /run/secrets is what /var/run/secrets is on most systems.
var system = []string{"/proc", "/sys", "/boot", "/dev", "/run/secrets", "/var/run/secrets"}

// openRoot makes the folder, if it is not there, and opens it.
func openRoot(path string) (*os.Root, string, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, "", err
	}
	if err := checkRoot(absolute); err != nil {
		return nil, "", err
	}
	if err := os.MkdirAll(absolute, 0o750); err != nil {
		return nil, "", err
	}
	// A link may lead elsewhere than its name says.
	real, err := filepath.EvalSymlinks(absolute)
	if err != nil {
		return nil, "", err
	}
	if err := checkRoot(real); err != nil {
		return nil, "", err
	}
	root, err := os.OpenRoot(real)
	return root, absolute, err
}

func checkRoot(path string) error {
	if slices.ContainsFunc(system, func(s string) bool { return within(path, s) || within(s, path) }) {
		return fmt.Errorf("%s is not allowed as a root: it is a folder of the system, or holds one of %s; want a folder of its own", path,
			strings.Join(system, ", "))
	}
	return nil
}

// within says whether path is folder or lies in it.
func within(path, folder string) bool {
	return path == folder || folder == "/" || strings.HasPrefix(path, folder+"/")
}
