package sentry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/daprd/daprd/pkg/config"
)

// nextPrefix is before the names of the files of the issuer that takes over.
const nextPrefix = "next-"

// names are those of the parts of a bundle: files of a folder, keys of a Secret.
type names struct{ anchors, chain, key, nextChain, nextKey, tokenKey, tokenSet, nextTokenKey string }

func newNames(c *Config) names {
	n := names{anchors: filepath.Base(c.AnchorsFile), chain: filepath.Base(c.CertificateFile), key: filepath.Base(c.KeyFile)}
	n.tokenKey, n.tokenSet = DefaultTokenKeyFile, DefaultTokenSetFile
	if c.JWT.Enabled {
		n.tokenKey, n.tokenSet = filepath.Base(c.JWT.KeyFile), filepath.Base(c.JWT.SetFile)
	}
	n.nextChain, n.nextKey, n.nextTokenKey = nextPrefix+n.chain, nextPrefix+n.key, nextPrefix+n.tokenKey
	return n
}

// part is one text of a bundle under its name.
type part struct {
	name string
	text *string
}

// parts are in the order in which they are written: who is stopped half-way leaves a bundle that can be read.
func (n names) parts(c *texts) []part {
	return []part{{n.nextKey, &c.nextKey}, {n.nextChain, &c.nextChain}, {n.anchors, &c.anchors}, {n.key, &c.key}, {n.chain, &c.chain},
		{n.nextTokenKey, &c.nextTokenKey}, {n.tokenSet, &c.tokenSet}, {n.tokenKey, &c.tokenKey}}
}

// files keeps the bundle in a folder.
type files struct {
	folder  string
	names   names
	watcher *config.Watcher
	// held is what load has read.
	held texts
}

// newFiles begins to watch the folder before it is read for the first time, so that no change is missed.
func newFiles(c *Config) (*files, error) {
	if err := os.MkdirAll(c.Credentials, 0o700); err != nil {
		return nil, fmt.Errorf("--issuer-credentials: %w", err)
	}
	watcher, err := config.Watch([]string{c.Credentials}, nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("--issuer-credentials: %w", err), watcher.Close())
	}
	return &files{folder: c.Credentials, names: newNames(c), watcher: watcher}, nil
}

func (f *files) close() error { return f.watcher.Close() }

func (f *files) wait(ctx context.Context, interval time.Duration) { f.watcher.Next(ctx, interval) }

func (f *files) load(context.Context) (c texts, err error) {
	for _, p := range f.names.parts(&c) {
		text, err := os.ReadFile(filepath.Join(f.folder, p.name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return texts{}, err
		}
		*p.text = string(text)
	}
	f.held = c
	return c, nil
}

// save writes what is there before it removes what is not: nothing is lost half-way.
func (f *files) save(_ context.Context, c texts) error {
	held, wanted := f.names.parts(&f.held), f.names.parts(&c)
	for i, p := range wanted {
		if *p.text != "" && *p.text != *held[i].text {
			if err := f.write(p.name, *p.text); err != nil {
				return err
			}
		}
	}
	for i, p := range wanted {
		if *p.text == "" && *held[i].text != "" {
			if err := os.Remove(filepath.Join(f.folder, p.name)); err != nil {
				return err
			}
		}
	}
	f.held = c
	return nil
}

// write puts a file, readable to its owner only, in the place of another at once. os.CreateTemp gives the mode 0600.
func (f *files) write(name, text string) (err error) {
	file, err := os.CreateTemp(f.folder, "."+name+".")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.WriteString(text)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), filepath.Join(f.folder, name))
}
