package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"
)

// packageRoot is cut off the Go import paths that the .proto files name; the
// rest is the folder below the output folder.
const packageRoot = "module=github.com/daprd/daprd/pkg/proto"

// plugin is one code generator of protoc's plugin protocol.
type plugin struct {
	tool      string
	parameter string
	// wants says for which of the project's files the plugin is run.
	wants func(path string) bool
}

func plugins() []plugin {
	return []plugin{
		{tool: "protoc-gen-go", parameter: packageRoot, wants: every},
		{tool: "protoc-gen-go-grpc", parameter: packageRoot, wants: every},
		{tool: "protoc-gen-go-vtproto", parameter: packageRoot + ",features=marshal+unmarshal+size", wants: fast},
	}
}

func every(string) bool { return true }

// fast picks the packages that carry the load. Messages that take a
// google.protobuf.Struct or Value from outside stay with the reflective codec:
// it limits the depth of nesting, vtproto's reader does not, and a few megabytes
// of nested lists would exhaust the stack.
func fast(path string) bool {
	switch path {
	case "dapr/proto/runtime/v1/conversation.proto", "dapr/proto/internals/v1/jobs.proto":
		return false
	}
	return slices.ContainsFunc([]string{
		"dapr/proto/common/",
		"dapr/proto/internals/",
		"dapr/proto/runtime/",
	}, func(folder string) bool { return strings.HasPrefix(path, folder) })
}

// run calls the plugin. The working folder is inside the module, where go finds
// the tool.
func (p plugin) run(ctx context.Context, s *schema) ([]*pluginpb.CodeGeneratorResponse_File, error) {
	request := &pluginpb.CodeGeneratorRequest{Parameter: proto.String(p.parameter), ProtoFile: s.files}
	for _, path := range s.paths {
		if p.wants(path) {
			request.FileToGenerate = append(request.FileToGenerate, path)
		}
	}
	in, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("encode request for %s: %w", p.tool, err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "tool", p.tool)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w: %s", p.tool, err, bytes.TrimSpace(stderr.Bytes()))
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &response); err != nil {
		return nil, fmt.Errorf("decode answer of %s: %w", p.tool, err)
	}
	if response.Error != nil {
		return nil, fmt.Errorf("run %s: %w", p.tool, errors.New(response.GetError()))
	}
	return response.File, nil
}

func write(root string, files []*pluginpb.CodeGeneratorResponse_File) error {
	for _, file := range files {
		path := filepath.Join(root, filepath.FromSlash(file.GetName()))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write generated code: %w", err)
		}
		if err := os.WriteFile(path, []byte(file.GetContent()), 0o644); err != nil {
			return fmt.Errorf("write generated code: %w", err)
		}
	}
	return nil
}
