// Package registry is name resolution for the sidecars of one user on one
// machine, without multicast or a server: a private folder with a file for each
// sidecar. A file counts only while the process that wrote it lives, since that
// process holds a lock on it until it ends, however it ends.
//
// The package must not know of other resolvers or of what is called.
package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/daprd/daprd/pkg/nameresolution"
)

const (
	// maxAddresses bounds one answer.
	maxAddresses = 256
	// maxFiles bounds how many names of the folder are looked at.
	maxFiles = 16384
	// draftAge is the age at which a file that never became an entry was left by
	// a process that died between two system calls.
	draftAge = time.Minute
)

// Registry is a Resolver, Announcer and Withdrawer over one folder.
type Registry struct {
	root *os.Root
	path string
	// folder is locked (shared), which keeps systemd-tmpfiles from removing the
	// entries of sidecars that run for weeks.
	folder *os.File

	mu   sync.Mutex
	name string
	file *os.File
}

// Open opens the folder at path, usually Path(), and makes it if it is missing.
// A folder that is not the user's own and only his is refused. The sidecar can do
// without a registry: callers report the error and go on.
func Open(path string) (*Registry, error) {
	if !supported {
		return nil, fmt.Errorf("registry of local sidecars: %w on this operating system", errors.ErrUnsupported)
	}
	root, err := openFolder(path)
	if err != nil {
		return nil, err
	}
	folder, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open registry folder: %w", err), root.Close())
	}
	// Who holds it alone is cleaning right now, and entries are young.
	_ = share(folder)
	return &Registry{root: root, path: path, folder: folder}, nil
}

// Resolve gives the addresses of the living sidecars of the target's app id and
// namespace. It reads the folder each time, some tens of microseconds, so it sees
// who came or went at once.
func (r *Registry) Resolve(ctx context.Context, target nameresolution.Target) ([]string, error) {
	names, err := r.names()
	if err != nil {
		return nil, err
	}
	var addresses []string
	begin := prefix(target.AppID)
	for _, name := range names {
		if !strings.HasPrefix(name, begin) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if e, ok := r.living(name); ok && e.isFor(target) && len(addresses) < maxAddresses {
			addresses = append(addresses, e.Address)
		}
	}
	if len(addresses) == 0 {
		return nil, &nameresolution.NotFoundError{AppID: target.AppID}
	}
	return addresses, nil
}

// Announce enters the sidecar, in place of its earlier entry, and clears away
// what dead sidecars left.
func (r *Registry) Announce(ctx context.Context, a nameresolution.Announcement) error {
	if err := r.Withdraw(ctx); err != nil {
		return err
	}
	content, err := json.MarshalIndent(newEntry(a), "", "  ")
	if err != nil {
		return fmt.Errorf("encode registry entry: %w", err)
	}
	name := newName(a.AppID)
	file, err := r.publish(name, append(content, '\n'))
	if err != nil {
		return fmt.Errorf("write entry into registry folder %s: %w", r.path, err)
	}
	r.mu.Lock()
	r.name, r.file = name, file
	r.mu.Unlock()
	return r.sweep()
}

// Withdraw removes the sidecar's own entry, if there is one.
func (r *Registry) Withdraw(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return nil
	}
	err := errors.Join(ignoreMissing(r.root.Remove(r.name)), r.file.Close())
	r.name, r.file = "", nil
	return err
}

// Close withdraws the sidecar and lets go of the folder.
func (r *Registry) Close() error {
	return errors.Join(r.Withdraw(context.Background()), r.folder.Close(), r.root.Close())
}

// publish makes the entry appear whole and already locked: the lock belongs to
// the file, and comes along when it is renamed.
func (r *Registry) publish(name string, content []byte) (file *os.File, err error) {
	draft := draftPrefix + name
	file, err = r.root.OpenFile(draft, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), ignoreMissing(r.root.Remove(draft)))
			file = nil
		}
	}()
	if err := hold(file); err != nil {
		return file, fmt.Errorf("lock %s: %w", draft, err)
	}
	if _, err := file.Write(content); err != nil {
		return file, err
	}
	return file, r.root.Rename(draft, name)
}

// living reads the entry if its process lives, and removes the file if not.
func (r *Registry) living(name string) (entry, bool) {
	file, err := r.root.Open(name)
	if err != nil {
		return entry{}, false
	}
	defer file.Close()
	alive, err := held(file)
	if err != nil {
		return entry{}, false
	}
	if !alive {
		// Another reader may have been faster.
		_ = r.root.Remove(name)
		return entry{}, false
	}
	e, err := decodeEntry(file)
	return e, err == nil
}

// sweep removes what dead processes left, whoever they were.
func (r *Registry) sweep() error {
	names, err := r.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, draftPrefix) && !r.oldDraft(name) {
			continue
		}
		r.living(name)
	}
	return nil
}

func (r *Registry) oldDraft(name string) bool {
	info, err := r.root.Lstat(name)
	return err == nil && time.Since(info.ModTime()) > draftAge
}

// names lists the files that this package made.
func (r *Registry) names() ([]string, error) {
	folder, err := r.root.Open(".")
	if err != nil {
		return nil, fmt.Errorf("read registry folder %s: %w", r.path, err)
	}
	defer folder.Close()
	all, err := folder.ReadDir(maxFiles)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read registry folder %s: %w", r.path, err)
	}
	names := make([]string, 0, len(all))
	for _, file := range all {
		if file.Type().IsRegular() && strings.HasSuffix(file.Name(), suffix) {
			names = append(names, file.Name())
		}
	}
	return names, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
