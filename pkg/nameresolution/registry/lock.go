package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Lock is a file of the folder that one process has at a time, until it ends, however it ends.
type Lock struct {
	file   *os.File
	folder *os.Root
	since  time.Time
}

// TryLock takes the lock of a name in the folder at path, which is made if it is missing; nil without error says that
// another process has it.
func TryLock(path, name string) (*Lock, error) {
	if !supported {
		return nil, fmt.Errorf("registry of local sidecars: %w on this operating system", errors.ErrUnsupported)
	}
	root, err := openFolder(path)
	if err != nil {
		return nil, err
	}
	l := &Lock{folder: root}
	if err = l.take(name); err == nil {
		return l, nil
	}
	failed := l.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, failed
	}
	return nil, errors.Join(fmt.Errorf("lock %s: %w", filepath.Join(path, name), err), failed)
}

// take opens the file, or makes it, and locks it.
func (l *Lock) take(name string) (err error) {
	made := false
	l.file, err = l.folder.OpenFile(name, os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		made = true
		l.file, err = l.folder.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	}
	if err != nil {
		return err
	}
	if err := hold(l.file); err != nil {
		return err
	}
	info, err := l.file.Stat()
	if err == nil && !made {
		l.since = info.ModTime()
	}
	return err
}

// Touched is when a process that had the lock before has touched it last, zero where there was none.
func (l *Lock) Touched() time.Time { return l.since }

// Touch notes that the lock is in use.
func (l *Lock) Touch() error {
	now := time.Now()
	return l.folder.Chtimes(filepath.Base(l.file.Name()), now, now)
}

// Close lets go of it.
func (l *Lock) Close() error {
	var errs []error
	if l.file != nil {
		errs = append(errs, l.file.Close())
	}
	return errors.Join(append(errs, l.folder.Close())...)
}
