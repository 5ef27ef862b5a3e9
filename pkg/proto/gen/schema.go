package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// schema is the compiled form of the project's .proto files.
type schema struct {
	// paths are the import paths of the project's own files, sorted.
	paths []string
	// files are those files and everything they import, each one after its
	// imports: the order that plugins rely on.
	files []*descriptorpb.FileDescriptorProto
}

func compile(ctx context.Context, root string) (*schema, error) {
	paths, err := find(root)
	if err != nil {
		return nil, err
	}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	linked, err := compiler.Compile(ctx, paths...)
	if err != nil {
		return nil, fmt.Errorf("compile schema: %w", err)
	}
	return &schema{paths: paths, files: ordered(linked)}, nil
}

// find lists the .proto files below root as import paths.
func find(root string) ([]string, error) {
	var paths []string
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, ".proto") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find schema files in %s: %w", filepath.Clean(root), err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("find schema files: no .proto file below %s (run this from the module's root, or set -in)", filepath.Clean(root))
	}
	slices.Sort(paths)
	return paths, nil
}

func ordered(linked linker.Files) []*descriptorpb.FileDescriptorProto {
	var files []*descriptorpb.FileDescriptorProto
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		imports := file.Imports()
		for i := range imports.Len() {
			add(imports.Get(i).FileDescriptor)
		}
		files = append(files, protoutil.ProtoFromFileDescriptor(file))
	}
	for _, file := range linked {
		add(file)
	}
	return files
}
