//go:build unix

package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// supported says whether the operating system ties a lock to a living process.
const supported = true

func checkOwner(info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("has no known owner")
	}
	if int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("belongs to user %d, not to user %d who runs this process", stat.Uid, os.Geteuid())
	}
	return nil
}

// hold locks the file until it is closed, which the end of the process does.
func hold(file *os.File) error {
	return flock(file, syscall.LOCK_EX|syscall.LOCK_NB)
}

// share takes a lock that others can have too, until the file is closed.
func share(file *os.File) error {
	return flock(file, syscall.LOCK_SH|syscall.LOCK_NB)
}

// held says whether a process holds the file.
func held(file *os.File) (bool, error) {
	err := share(file)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

func flock(file *os.File, how int) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = conn.Control(func(fd uintptr) {
		for {
			result = syscall.Flock(int(fd), how)
			if !errors.Is(result, syscall.EINTR) {
				return
			}
		}
	})
	return errors.Join(err, result)
}
