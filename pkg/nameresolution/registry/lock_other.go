//go:build !unix

package registry

import (
	"errors"
	"io/fs"
	"os"
)

// supported says whether the operating system ties a lock to a living process.
const supported = false

func checkOwner(fs.FileInfo) error { return errors.ErrUnsupported }
func hold(*os.File) error          { return errors.ErrUnsupported }
func share(*os.File) error         { return errors.ErrUnsupported }
func held(*os.File) (bool, error)  { return false, errors.ErrUnsupported }
