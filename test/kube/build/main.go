// Command build builds the API server of the tests ahead of them, where it is not there yet, and prints where it is.
package main

import (
	"fmt"
	"os"

	"github.com/daprd/daprd/test/kube"
)

func main() {
	path, err := kube.Build()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(path)
}
