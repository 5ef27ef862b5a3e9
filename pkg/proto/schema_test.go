package proto_test

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	_ "github.com/daprd/daprd/pkg/proto/common/v1"
	_ "github.com/daprd/daprd/pkg/proto/components/v1"
	_ "github.com/daprd/daprd/pkg/proto/internals/v1"
	_ "github.com/daprd/daprd/pkg/proto/operator/v1"
	_ "github.com/daprd/daprd/pkg/proto/placement/v1"
	_ "github.com/daprd/daprd/pkg/proto/runtime/v1"
	_ "github.com/daprd/daprd/pkg/proto/scheduler/v1"
	_ "github.com/daprd/daprd/pkg/proto/sentry/v1"
	_ "github.com/daprd/daprd/pkg/proto/workflows/v1"
)

// lines maps a full name, such as "message dapr.proto.common.v1.Etag", to the
// lines that describe its content.
type lines map[string][]string

// TestSchema compares the generated descriptors with the facts, both ways:
// nothing is missing, and nothing was made up.
func TestSchema(t *testing.T) {
	want, got := facts(t), generated()
	if len(want) < 380 {
		t.Fatalf("testdata holds %d definitions, want all of them", len(want))
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("definitions (-facts +generated):\n%s", diff)
	}
	for name, content := range want {
		if diff := cmp.Diff(content, got[name]); diff != "" {
			t.Errorf("%s (-facts +generated):\n%s", name, diff)
		}
	}
}

// facts reads testdata/schema.txt. Where the versions differ, the newer form
// counts; what only the older one has stays if neither number nor name is taken.
func facts(t *testing.T) lines {
	t.Helper()
	file, err := os.Open("testdata/schema.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	all, old := lines{}, lines{}
	var pkg, key string
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		line := scanner.Text()
		switch {
		case strings.HasPrefix(line, "#"), strings.HasPrefix(line, "  reserved "):
		case strings.HasPrefix(line, "package "):
			pkg = strings.TrimPrefix(line, "package ")
		case strings.HasPrefix(line, "  "):
			to := all
			if strings.HasSuffix(line, " [1.7 only]") {
				to = old
			}
			to[key] = append(to[key], factLine(pkg, line))
		default:
			word := strings.Fields(line)
			key = word[0] + " " + pkg + "." + word[1]
			all[key] = []string{}
		}
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	for key, content := range old {
		all[key] = append(all[key], free(all[key], content)...)
	}
	for _, content := range all {
		slices.Sort(content)
	}
	return all
}

// free picks the lines whose number and name no other line has.
func free(taken, content []string) []string {
	used := map[string]bool{}
	for _, line := range taken {
		used[strings.Fields(line)[0]], used[strings.Fields(line)[1]] = true, true
	}
	return slices.DeleteFunc(content, func(line string) bool {
		return used[strings.Fields(line)[0]] || used[strings.Fields(line)[1]]
	})
}

var (
	version = regexp.MustCompile(` \[1\.\d+( only)?\]$`)
	method  = regexp.MustCompile(`^(\w+)\((stream )?(\S+)\) -> (stream )?(\S+)$`)
	mapping = regexp.MustCompile(`^map<(\w+), (\S+)>$`)
	scalar  = regexp.MustCompile(`^(string|bytes|bool|double|u?int(32|64))$`)
)

// factLine brings a line of the facts into the form that this file's
// descriptions have: full type names, no version.
func factLine(pkg, line string) string {
	line = version.ReplaceAllString(strings.TrimSpace(line), "")
	full := func(name string) string {
		if scalar.MatchString(name) || strings.HasPrefix(name, "google.protobuf.") || strings.HasPrefix(name, "dapr.proto.") {
			return name
		}
		return pkg + "." + name
	}
	if m := method.FindStringSubmatch(line); m != nil {
		return fmt.Sprintf("%s: %s%s -> %s%s", m[1], m[2], full(m[3]), m[4], full(m[5]))
	}
	word := strings.SplitN(line, " ", 3)
	if len(word) == 2 { // a value of an enum
		return line
	}
	kind, attributes, _ := strings.Cut(word[2], " (")
	switch m := mapping.FindStringSubmatch(kind); {
	case m != nil:
		kind = "map<" + m[1] + ", " + full(m[2]) + ">"
	default:
		last := strings.LastIndex(kind, " ") + 1
		kind = kind[:last] + full(kind[last:])
	}
	if attributes != "" {
		kind += " (" + attributes
	}
	return word[0] + " " + word[1] + " " + kind
}

// generated describes the registered files in the words of the facts.
func generated() lines {
	all := lines{}
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(string(file.Package()), "dapr.proto.") {
			services(all, file.Services())
			enums(all, file.Enums())
			messages(all, file.Messages())
		}
		return true
	})
	for _, content := range all {
		slices.Sort(content)
	}
	return all
}

func services(all lines, list protoreflect.ServiceDescriptors) {
	for i := range list.Len() {
		methods, content := list.Get(i).Methods(), []string{}
		for j := range methods.Len() {
			m := methods.Get(j)
			content = append(content, fmt.Sprintf("%s: %s%s -> %s%s", m.Name(),
				mark(m.IsStreamingClient(), "stream "), m.Input().FullName(),
				mark(m.IsStreamingServer(), "stream "), m.Output().FullName()))
		}
		all["service "+string(list.Get(i).FullName())] = content
	}
}

func enums(all lines, list protoreflect.EnumDescriptors) {
	for i := range list.Len() {
		values, content := list.Get(i).Values(), []string{}
		for j := range values.Len() {
			content = append(content, fmt.Sprintf("%d %s", values.Get(j).Number(), values.Get(j).Name()))
		}
		all["enum "+string(list.Get(i).FullName())] = content
	}
}

func messages(all lines, list protoreflect.MessageDescriptors) {
	for i := range list.Len() {
		if list.Get(i).IsMapEntry() {
			continue
		}
		fields, content := list.Get(i).Fields(), []string{}
		for j := range fields.Len() {
			content = append(content, describe(fields.Get(j)))
		}
		all["message "+string(list.Get(i).FullName())] = content
		enums(all, list.Get(i).Enums())
		messages(all, list.Get(i).Messages())
	}
}

func describe(f protoreflect.FieldDescriptor) string {
	line := fmt.Sprintf("%d %s ", f.Number(), f.Name())
	if f.IsMap() {
		line += fmt.Sprintf("map<%s, %s>", f.MapKey().Kind(), typeName(f.MapValue()))
	} else {
		line += mark(f.IsList(), "repeated ") + mark(f.HasOptionalKeyword(), "optional ") +
			mark(f.Kind() == protoreflect.EnumKind, "enum ") + typeName(f)
	}
	if one := f.ContainingOneof(); one != nil && !one.IsSynthetic() {
		line += fmt.Sprintf(" (oneof %s)", one.Name())
	}
	if options, ok := f.Options().(*descriptorpb.FieldOptions); ok && options.GetDeprecated() {
		line += " (deprecated)"
	}
	return line + mark(f.JSONName() != camel(string(f.Name())), " (json_name "+f.JSONName()+")")
}

func typeName(f protoreflect.FieldDescriptor) string {
	switch {
	case f.Message() != nil:
		return string(f.Message().FullName())
	case f.Enum() != nil:
		return string(f.Enum().FullName())
	}
	return f.Kind().String()
}

// camel is the JSON name that a field has if it names none.
func camel(name string) string {
	var out strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] == '_' && i+1 < len(name) {
			i++
			out.WriteString(strings.ToUpper(name[i : i+1]))
			continue
		}
		out.WriteByte(name[i])
	}
	return out.String()
}

func mark(set bool, text string) string {
	if set {
		return text
	}
	return ""
}

// TestNestedValuesAreBounded holds the rule that what reads bytes from outside
// without a limit on nesting reads no message that can nest: vtproto has no
// limit, and a deep google.protobuf.Value would exhaust the stack.
func TestNestedValuesAreBounded(t *testing.T) {
	received := map[protoreflect.FullName]func(protoreflect.MethodDescriptor) []protoreflect.MessageDescriptor{
		"dapr.proto.runtime.v1.Dapr":                   input,
		"dapr.proto.runtime.v1.AppCallback":            output,
		"dapr.proto.runtime.v1.AppCallbackAlpha":       output,
		"dapr.proto.runtime.v1.AppCallbackHealthCheck": output,
		"dapr.proto.internals.v1.ServiceInvocation":    both,
	}
	nesting := 0
	for name, pick := range received {
		service, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
		if err != nil {
			t.Fatal(err)
		}
		methods := service.(protoreflect.ServiceDescriptor).Methods()
		for i := range methods.Len() {
			for _, message := range pick(methods.Get(i)) {
				if !nests(message, nil) {
					continue
				}
				nesting++
				if unbounded(t, message) {
					t.Errorf("%s reads %s with vtproto, which does not limit its nesting", methods.Get(i).FullName(), message.FullName())
				}
			}
		}
	}
	if nesting == 0 {
		t.Error("no message was found that can nest: a conversation's parameters can")
	}
}

func input(m protoreflect.MethodDescriptor) []protoreflect.MessageDescriptor {
	return []protoreflect.MessageDescriptor{m.Input()}
}

func output(m protoreflect.MethodDescriptor) []protoreflect.MessageDescriptor {
	return []protoreflect.MessageDescriptor{m.Output()}
}

func both(m protoreflect.MethodDescriptor) []protoreflect.MessageDescriptor {
	return append(input(m), output(m)...)
}

func unbounded(t *testing.T, message protoreflect.MessageDescriptor) bool {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(message.FullName())
	if err != nil {
		t.Fatal(err)
	}
	_, ok := proto.Message(kind.New().Interface()).(interface{ UnmarshalVT([]byte) error })
	return ok
}

// nests says whether message can hold itself, at any depth.
func nests(message protoreflect.MessageDescriptor, above []protoreflect.FullName) bool {
	if slices.Contains(above, message.FullName()) {
		return true
	}
	above = append(slices.Clone(above), message.FullName())
	fields := message.Fields()
	for i := range fields.Len() {
		if inner := fields.Get(i).Message(); inner != nil && nests(inner, above) {
			return true
		}
	}
	return false
}
