package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"
)

// Unix binds a socket file. What a dead process left at path is removed; anything else there stays, and
// binding then fails and says so.
func Unix(ctx context.Context, path string) (net.Listener, error) {
	if err := vacate(path); err != nil {
		return nil, fmt.Errorf("unix socket %s: %w", path, err)
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on unix socket %s: %w", path, err)
	}
	return l, nil
}

var errNoSocket = errors.New("there is a file of that name which is no socket; remove it or choose another folder")

// vacate removes a socket file that nobody serves.
func vacate(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSocket == 0:
		return errNoSocket
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		return c.Close()
	}
	return os.Remove(path)
}
