// Package localfile is the secret store of a JSON file beside the sidecar.
package localfile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/resiliency"
	"github.com/daprd/daprd/pkg/secrets"
)

type settings struct {
	File        string `metadata:"secretsFile,required"`
	Separator   string `metadata:"nestedSeparator" default:":"`
	MultiValued bool   `metadata:"multiValued"`
}

// store holds the file's content as it was at the start.
type store struct {
	secrets     map[string]map[string]string
	multiValued bool
}

// NewSecretStore reads the file of secretstores.local.file.
func NewSecretStore(_ context.Context, spec *components.Spec) (secrets.Store, error) {
	var s settings
	if err := components.Decode(spec, &s); err != nil {
		return nil, err
	}
	if s.Separator == "" {
		s.Separator = ":"
	}
	text, err := read(s.File)
	if err != nil {
		return nil, fmt.Errorf("metadata property secretsFile: %w", err)
	}
	content, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("metadata property secretsFile: %s: %w", s.File, err)
	}
	if s.MultiValued {
		return &store{multi(content, s.Separator), true}, nil
	}
	return &store{single(content, s.Separator), false}, nil
}

// maxFile bounds the file, which stays in memory.
const maxFile = 16 << 20

func read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d MiB", path, maxFile>>20)
	}
	return text, nil
}

// parse reads one JSON object; errors tell line and column, never content.
func parse(text []byte) (map[string]any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var content map[string]any
	err := decoder.Decode(&content)
	if err == nil && content == nil {
		err = errors.New("the file is empty or null")
	}
	if err == nil {
		if _, after := decoder.Token(); !errors.Is(after, io.EOF) {
			err = errors.New("something follows the object")
		}
	}
	if err != nil {
		line, column := position(text, decoder.InputOffset(), err)
		return nil, fmt.Errorf("line %d, column %d: want one JSON object of secrets: %w", line, column, plain(err))
	}
	return content, nil
}

func position(text []byte, offset int64, err error) (line, column int) {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		offset = syntax.Offset
	}
	before := text[:min(int(offset), len(text))]
	return 1 + bytes.Count(before, []byte("\n")), len(before) - bytes.LastIndexByte(before, '\n') - 1
}

// plain takes from an error what may repeat a value of the file.
func plain(err error) error {
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &mismatch):
		return errors.New("it holds something else")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends too early")
	}
	return err
}

// single flattens everything to one secret for each value: "a:b:0".
func single(content map[string]any, separator string) map[string]map[string]string {
	flat := map[string]string{}
	flattenObject(flat, "", content, separator)
	all := make(map[string]map[string]string, len(flat))
	for name, text := range flat {
		all[name] = map[string]string{name: text}
	}
	return all
}

// multi keeps top-level names: a text is a secret of one value, an object one of several. Other types are
// dropped, as Dapr does.
func multi(content map[string]any, separator string) map[string]map[string]string {
	all := map[string]map[string]string{}
	for name, value := range content {
		switch v := value.(type) {
		case string:
			all[name] = map[string]string{name: v}
		case map[string]any:
			flat := map[string]string{}
			flattenObject(flat, "", v, separator)
			all[name] = flat
		}
	}
	return all
}

// flattenObject goes through the names in order, so that of two values with one path ("a:b" and b in a)
// the same one holds at every start: the one that is written with its whole path.
func flattenObject(into map[string]string, prefix string, object map[string]any, separator string) {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		flatten(into, prefix+key, object[key], separator)
	}
}

func flatten(into map[string]string, path string, value any, separator string) {
	switch v := value.(type) {
	case map[string]any:
		flattenObject(into, path+separator, v, separator)
	case []any:
		for i, inner := range v {
			flatten(into, path+separator+strconv.Itoa(i), inner, separator)
		}
	case string:
		into[path] = v
	case nil:
		into[path] = ""
	default:
		into[path] = fmt.Sprint(v) // a number or a boolean, as the file has it
	}
}

// Secret is one secret of the file.
func (s *store) Secret(_ context.Context, name string, _ map[string]string) (map[string]string, error) {
	values, ok := s.secrets[name]
	if !ok {
		return nil, resiliency.Mistake(http.StatusNotFound, fmt.Errorf("secret %s not found", name))
	}
	return maps.Clone(values), nil
}

// All are all secrets of the file.
func (s *store) All(context.Context, map[string]string) (map[string]map[string]string, error) {
	all := make(map[string]map[string]string, len(s.secrets))
	for name, values := range s.secrets {
		all[name] = maps.Clone(values)
	}
	return all, nil
}

// Features tells that a secret may have several values.
func (s *store) Features() []string {
	if s.multiValued {
		return []string{"MULTIPLE_KEY_VALUES_PER_SECRET"}
	}
	return nil
}
