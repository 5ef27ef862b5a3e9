package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	groupVersion = "dapr.io/v1alpha1"
	// maxManifest bounds a file of manifests.
	maxManifest = 16 << 20
)

// Resources are what the folders hold that this sidecar understands, in the order of the files' names.
type Resources struct {
	Components    []Component
	HTTPEndpoints []HTTPEndpoint
	// Warnings tell of files and documents that were passed over.
	Warnings []string
}

// ReadFolders reads every YAML file of the folders. A folder that is not there and a second resource of
// one kind and name are errors; a file or document that cannot be read is a warning; documents of other
// kinds are passed over without a word.
func ReadFolders(paths ...string) (*Resources, error) {
	r := &Resources{}
	seen := map[string]Origin{}
	for _, path := range paths {
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, fmt.Errorf("read the resources folder %s: %w; give an existing folder to --resources-path", path, err)
		}
		for _, entry := range entries {
			if err := r.readEntry(filepath.Join(path, entry.Name()), seen); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

func (r *Resources) readEntry(path string, seen map[string]Origin) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		r.warn("%s: %v", path, err)
		return nil
	case !info.Mode().IsRegular():
		return nil
	case !strings.HasSuffix(path, ".yaml") && !strings.HasSuffix(path, ".yml"):
		r.warn("A non-YAML file %s was detected, it will not be loaded", path)
		return nil
	case info.Size() > maxManifest:
		r.warn("%s is larger than %d MiB, it will not be loaded", path, maxManifest>>20)
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		r.warn("%s: %v", path, err)
		return nil
	}
	for _, document := range split(text) {
		document.origin.File = path
		if err := r.read(document, seen); err != nil {
			return err
		}
	}
	return nil
}

// document is one of a file's.
type document struct {
	text   []byte
	origin Origin
}

// split cuts a file at the lines that begin with "---".
func split(text []byte) []document {
	var (
		documents []document
		start     = 0
		first     = 1
	)
	cut := func(end, next int) {
		if body := text[start:end]; len(bytes.TrimSpace(body)) > 0 {
			documents = append(documents, document{body, Origin{Document: len(documents) + 1, Line: first}})
		}
		start, first = end, next
	}
	line, offset := 1, 0
	for l := range bytes.Lines(text) {
		if bytes.HasPrefix(l, []byte("---")) {
			cut(offset, line+1)
			start = offset + len(l)
		}
		offset += len(l)
		line++
	}
	cut(len(text), line)
	return documents
}

func (r *Resources) read(d document, seen map[string]Origin) error {
	var head struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string `yaml:"kind"`
		Meta       Meta   `yaml:"metadata"`
	}
	if err := decode(d.text, &head); err != nil {
		r.warn("%s is no usable YAML and is passed over: %v", d.origin, err)
		return nil
	}
	if head.APIVersion != groupVersion || (head.Kind != "Component" && head.Kind != "HTTPEndpoint") {
		return nil
	}
	key := head.Kind + "/" + head.Meta.Name
	if earlier, ok := seen[key]; ok {
		return fmt.Errorf("duplicate definition of %s name %s: %s with existing %s", head.Kind, head.Meta.Name, d.origin, earlier)
	}
	seen[key] = d.origin
	if err := r.keep(head.Kind, d); err != nil {
		r.warn("%s: the %s %s cannot be read and is passed over: %v", d.origin, head.Kind, head.Meta.Name, err)
	}
	return nil
}

func (r *Resources) keep(kind string, d document) error {
	if kind == "HTTPEndpoint" {
		e := HTTPEndpoint{Origin: d.origin}
		err := decode(d.text, &e)
		if err == nil {
			r.HTTPEndpoints = append(r.HTTPEndpoints, e)
		}
		return err
	}
	c := Component{Origin: d.origin}
	err := decode(d.text, &c)
	if err == nil {
		r.Components = append(r.Components, c)
	}
	return err
}

// decode reads the first document of text.
func decode(text []byte, into any) error {
	err := yaml.NewDecoder(bytes.NewReader(text)).Decode(into)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (r *Resources) warn(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}
