// Command gen turns the .proto files below pkg/proto into Go code. It needs
// nothing but Go: the schema is compiled in process and the plugins are the
// tools that go.mod names, so the output depends on the module's versions only.
//
// Run it from the module's root:
//
//	go run ./pkg/proto/gen
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
)

func main() {
	in := flag.String("in", "pkg/proto", "folder that the .proto files' import paths start at")
	out := flag.String("out", "pkg/proto", "folder that receives the generated packages")
	flag.Parse()

	if err := generate(context.Background(), *in, *out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// generate compiles every schema file below in and writes what the plugins
// make of them below out.
func generate(ctx context.Context, in, out string) error {
	schema, err := compile(ctx, in)
	if err != nil {
		return err
	}
	for _, p := range plugins() {
		files, err := p.run(ctx, schema)
		if err != nil {
			return err
		}
		if err := write(out, files); err != nil {
			return err
		}
	}
	return nil
}
