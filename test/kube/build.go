package kube

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// binary is the name of the API server in its folder.
const binary = "kube-apiserver"

// Build gives the path of the API server's binary. It builds it where it is not in the user's cache folder yet, which takes
// some minutes; its source is the module in the folder apiserver, and another version of that is another binary.
func Build() (path string, err error) {
	source, err := source()
	if err != nil {
		return "", err
	}
	folder, err := cacheFolder(source)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	// The tests of several packages may want it at once: one builds, the others wait.
	lock, err := os.Create(filepath.Join(folder, "lock"))
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	path = filepath.Join(folder, binary)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return path, err
	}
	unfinished := path + ".unfinished"
	command := exec.Command("go", "build", "-ldflags", "-s -w", "-o", unfinished, ".")
	command.Dir = source
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the API server of Kubernetes in %s: %w\n%s", source, err, out)
	}
	return path, os.Rename(unfinished, path)
}

// source is the folder of the API server's module, also for tests in modules that have this one by a replacement.
func source() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/daprd/daprd").Output()
	if err != nil {
		return "", fmt.Errorf("go list -m: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "test", "kube", "apiserver"), nil
}

// cacheFolder is named after all that the binary is made of.
func cacheFolder(source string) (string, error) {
	made, err := exec.Command("go", "env", "GOVERSION", "GOOS", "GOARCH").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	parts := [][]byte{made}
	for _, name := range []string{"main.go", "go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", err
		}
		parts = append(parts, text)
	}
	sum := sha256.Sum256(bytes.Join(parts, nil))
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "daprd-test", binary+"-"+hex.EncodeToString(sum[:8])), err
}
