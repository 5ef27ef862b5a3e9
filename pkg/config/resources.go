package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxFile bounds a file of manifests or a Configuration, in bytes.
const maxFile = 16 << 20

// Resources are what the folders hold that this sidecar understands, in the order of the files' names.
type Resources struct {
	Components    []Component
	HTTPEndpoints []HTTPEndpoint
	Resiliencies  []Resiliency
	// Unreadable are the files of which a part could not be understood: what was read in them before may still be meant.
	Unreadable    []string
	Subscriptions []Subscription
	// Warnings tell of files and documents that were passed over, a line each.
	Warnings []string
}

// ReadFolders reads every file that ends in .yaml or .yml of the folders, not of folders in them. A folder
// that is not there, and two resources of one kind and name that one app may use, are errors; a file or
// document that is not YAML is a warning; a component that does not look like one has a Fault; documents of
// other kinds are passed over.
func ReadFolders(paths ...string) (*Resources, error) {
	r := &Resources{}
	var read []string
	for _, path := range paths {
		if slices.Contains(read, filepath.Clean(path)) {
			continue
		}
		read = append(read, filepath.Clean(path))
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, fmt.Errorf("read the resources folder %s: %w; give an existing folder to --resources-path", path, err)
		}
		for _, entry := range entries {
			r.readEntry(filepath.Join(path, entry.Name()))
		}
	}
	return r, r.checkNames()
}

func (r *Resources) readEntry(path string) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		r.unreadable(path)
		r.warn("daprd load components error when reading file %s : %s", path, err)
		return
	case !info.Mode().IsRegular():
		return
	case !strings.HasSuffix(path, ".yaml") && !strings.HasSuffix(path, ".yml"):
		r.warn("A non-YAML Component file %s was detected, it will not be loaded", path)
		return
	}
	text, err := readFile(path)
	if err != nil {
		r.unreadable(path)
		r.warn("daprd load components error when reading file %s : %s", path, err)
		return
	}
	for _, d := range split(path, text) {
		r.read(d)
	}
}

// readFile reads a file up to maxFile; it may be a pipe.
func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("it is larger than %d MiB", maxFile>>20)
	}
	return text, nil
}

func (r *Resources) read(d document) {
	var head header
	root, twice, err := d.node()
	if err == nil {
		err = d.into(root, &head)
	}
	keep, why := head.purpose()
	if err != nil && keep == nil {
		r.unreadable(d.origin.File)
		r.warn("daprd load components error when parsing components yaml resource in %s : %s; the document is passed over", d.origin, err)
		return
	}
	if why != "" {
		r.warn("%s: %s", d.origin, why)
	}
	if keep == nil {
		return
	}
	for _, key := range twice {
		r.warn("%s: the key %s stands twice in the %s %s; the last one holds", d.origin, key, head.Kind, head.Meta.Name)
	}
	if err := keep(r, d, root); err != nil {
		r.unreadable(d.origin.File)
		r.warn("daprd load components error when parsing components yaml resource in %s : %s; the %s %s is passed over",
			d.origin, err, head.Kind, head.Meta.Name)
	}
}

// checkNames refuses two resources of one kind and name. Those for different apps or namespaces never meet
// in one sidecar, so that one folder may serve several with resources of one name.
func (r *Resources) checkNames() error {
	components := map[string][]*Component{}
	for i := range r.Components {
		c := &r.Components[i]
		if c.Fault != nil {
			continue
		}
		for _, earlier := range components[c.Meta.Name] {
			if meet(c.Meta, c.Scopes, earlier.Meta, earlier.Scopes) {
				return duplicate("Component", c, c.Origin, earlier, earlier.Origin)
			}
		}
		components[c.Meta.Name] = append(components[c.Meta.Name], c)
	}
	endpoints := map[string][]*HTTPEndpoint{}
	for i := range r.HTTPEndpoints {
		e := &r.HTTPEndpoints[i]
		for _, earlier := range endpoints[e.Meta.Name] {
			if meet(e.Meta, e.Scopes, earlier.Meta, earlier.Scopes) {
				return duplicate("HTTPEndpoint", e, e.Origin, earlier, earlier.Origin)
			}
		}
		endpoints[e.Meta.Name] = append(endpoints[e.Meta.Name], e)
	}
	return nil
}

func duplicate(kind string, second fmt.Stringer, where Origin, first fmt.Stringer, earlier Origin) error {
	return fmt.Errorf("duplicate definition of %s name %s with existing %s: %s and %s; rename or remove one of them",
		kind, second, first, where, earlier)
}

// meet says whether one sidecar may be given both.
func meet(a Meta, aScopes []string, b Meta, bScopes []string) bool {
	if a.Name == "" || (a.Namespace != b.Namespace && a.Namespace != "" && b.Namespace != "") {
		return false
	}
	return len(aScopes) == 0 || len(bScopes) == 0 ||
		slices.ContainsFunc(aScopes, func(app string) bool { return slices.Contains(bScopes, app) })
}

func (r *Resources) unreadable(path string) { r.Unreadable = append(r.Unreadable, path) }

func (r *Resources) warn(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}
