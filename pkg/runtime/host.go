package runtime

import (
	"context"
	"net"
)

// DetectHost finds the address that other sidecars can dial: the one from which this machine would reach
// the internet (nothing is sent), else the first that is not a loopback address, else 127.0.0.1, with which
// sidecars on one machine still find each other.
func DetectHost(ctx context.Context) string {
	var dialer net.Dialer
	if conn, err := dialer.DialContext(ctx, "udp", "8.8.8.8:80"); err == nil {
		defer conn.Close()
		return conn.LocalAddr().(*net.UDPAddr).IP.String()
	}
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}
