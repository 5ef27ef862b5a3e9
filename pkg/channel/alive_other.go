//go:build !unix

package channel

import "net"

// probe cannot look into a socket here: a dead connection is found by using it.
type probe struct{}

func (*probe) silent(net.Conn) bool { return true }
