package localstorage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/daprd/daprd/pkg/bindings"
)

const (
	// unfinished begins the names of files that are being written.
	unfinished = ".daprd-unfinished-"
	// mostFiles bounds a list.
	mostFiles = 100_000

	folderMode = 0o750
	fileMode   = 0o640
)

var errNoFile = errors.New("it is no file")

// create writes a file whole or not at all, in place of one that is there.
func (b *binding) create(name string, data []byte) (*bindings.Response, error) {
	if int64(len(data)) > b.limit {
		return nil, b.tooLarge("create", name)
	}
	folder := path.Dir(name)
	if err := b.root.MkdirAll(folder, folderMode); err != nil {
		return nil, b.told("create", name, err)
	}
	draft := path.Join(folder, unfinished+uuid.NewString())
	err := b.root.WriteFile(draft, data, fileMode)
	if err == nil {
		err = b.root.Rename(draft, name)
	}
	if err != nil {
		_ = b.root.Remove(draft)
		return nil, b.told("create", name, err)
	}
	answer, err := json.Marshal(map[string]string{"fileName": name})
	return &bindings.Response{Data: answer}, err
}

func (b *binding) tooLarge(operation, name string) error {
	return fmt.Errorf("%s %s: the file has more than %d bytes; the metadata property maxFileSize allows more", operation, name, b.limit)
}

// get reads a file. What is no file (a pipe would keep the reader waiting) is refused before it is opened.
func (b *binding) get(name string) (*bindings.Response, error) {
	info, err := b.root.Stat(name)
	switch {
	case err != nil:
		return nil, b.told("get", name, err)
	case !info.Mode().IsRegular():
		return nil, b.told("get", name, errNoFile)
	case info.Size() > b.limit:
		return nil, b.tooLarge("get", name)
	}
	file, err := b.root.Open(name)
	if err != nil {
		return nil, b.told("get", name, err)
	}
	defer func() { _ = file.Close() }()
	data := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	switch n, err := data.ReadFrom(io.LimitReader(file, b.limit+1)); {
	case err != nil:
		return nil, b.told("get", name, err)
	case n > b.limit:
		return nil, b.tooLarge("get", name)
	}
	return &bindings.Response{Data: data.Bytes()}, nil
}

// list gives the files of a folder and of those in it, as absolute paths; null if there are none.
func (b *binding) list(ctx context.Context, name string) (*bindings.Response, error) {
	info, err := b.root.Stat(name)
	if err != nil {
		return nil, b.told("list", name, err)
	}
	if !info.IsDir() {
		return nil, b.told("list", name, errors.New("it is no folder"))
	}
	var files []string
	err = fs.WalkDir(b.root.FS(), name, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case entry.IsDir() || strings.HasPrefix(entry.Name(), unfinished):
			return nil
		case len(files) == mostFiles:
			return fmt.Errorf("there are more than %d files; list a folder in it", mostFiles)
		}
		files = append(files, filepath.Join(b.path, filepath.FromSlash(file)))
		return nil
	})
	if err != nil {
		return nil, b.told("list", name, err)
	}
	answer, err := json.Marshal(files)
	return &bindings.Response{Data: answer}, err
}
