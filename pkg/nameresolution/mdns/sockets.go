package mdns

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	// port is where all of mDNS takes place.
	port = 5353
	// maxInterfaces bounds the copies of one packet on machines with a virtual
	// interface for each container.
	maxInterfaces = 32
	// maxPacket is the largest packet of mDNS (RFC 6762, 17).
	maxPacket = 9000
)

// sockets send and receive on the group's port, on every interface that can
// multicast. Others on this machine (Dapr's sidecars, avahi) share the port.
type sockets struct {
	families []*family
	readers  sync.WaitGroup
}

// family is the socket of IPv4 or IPv6.
type family struct {
	network string
	group   *net.UDPAddr
	conn    *net.UDPConn
	join    func(*net.Interface) error

	mu  sync.Mutex // between choosing the interface and sending
	use func(*net.Interface) error
}

// openSockets opens what can be had of IPv4 and IPv6, and passes every packet to
// receive, with the zone of its sender, until it is closed. There is an error if
// neither can be had.
func openSockets(receive func(m *dns.Msg, zone string)) (*sockets, error) {
	interfaces, err := multicastInterfaces()
	if err != nil {
		return nil, err
	}
	var errs []error
	s := &sockets{}
	for _, f := range []*family{
		{network: "udp4", group: &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: port}},
		{network: "udp6", group: &net.UDPAddr{IP: net.ParseIP("ff02::fb"), Port: port}},
	} {
		if err := f.open(interfaces); err != nil {
			errs = append(errs, fmt.Errorf("open multicast socket %s: %w", f.network, err))
			continue
		}
		s.families = append(s.families, f)
		s.readers.Go(func() { f.read(receive) })
	}
	if len(s.families) == 0 {
		return nil, errors.Join(errs...)
	}
	return s, nil
}

func multicastInterfaces() ([]net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	var able []net.Interface
	for _, i := range all {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagMulticast != 0 && len(able) < maxInterfaces {
			able = append(able, i)
		}
	}
	if len(able) == 0 {
		return nil, errors.New("no network interface can multicast")
	}
	return able, nil
}

func (f *family) open(interfaces []net.Interface) error {
	var err error
	for i := range interfaces {
		if f.conn, err = net.ListenMulticastUDP(f.network, &interfaces[i], f.group); err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	var loopback error
	if f.network == "udp4" {
		p := ipv4.NewPacketConn(f.conn)
		f.join = func(i *net.Interface) error { return p.JoinGroup(i, f.group) }
		f.use = p.SetMulticastInterface
		loopback = errors.Join(p.SetMulticastLoopback(true), p.SetMulticastTTL(255))
	} else {
		p := ipv6.NewPacketConn(f.conn)
		f.join = func(i *net.Interface) error { return p.JoinGroup(i, f.group) }
		f.use = p.SetMulticastInterface
		loopback = errors.Join(p.SetMulticastLoopback(true), p.SetMulticastHopLimit(255))
	}
	if loopback != nil {
		return errors.Join(loopback, f.conn.Close())
	}
	f.joinAll(interfaces)
	return nil
}

// joinAll listens on interfaces that came up meanwhile as well; for those that
// are joined already the system answers with an error.
func (f *family) joinAll(interfaces []net.Interface) {
	for i := range interfaces {
		_ = f.join(&interfaces[i])
	}
}

// rejoin looks for interfaces that came up since.
func (s *sockets) rejoin() {
	interfaces, err := multicastInterfaces()
	if err != nil {
		return // the machine is off the network for now
	}
	for _, f := range s.families {
		f.joinAll(interfaces)
	}
}

// send multicasts the packet on all interfaces. There is an error if none took it.
func (s *sockets) send(m *dns.Msg) error {
	packet, err := m.Pack()
	if err != nil {
		return fmt.Errorf("encode mDNS packet: %w", err)
	}
	interfaces, err := multicastInterfaces()
	if err != nil {
		return err
	}
	var errs []error
	sent := false
	for _, f := range s.families {
		for i := range interfaces {
			if err := f.send(packet, &interfaces[i]); err != nil {
				errs = append(errs, fmt.Errorf("send mDNS packet on %s: %w", interfaces[i].Name, err))
				continue
			}
			sent = true
		}
	}
	if sent {
		return nil
	}
	return errors.Join(errs...)
}

func (f *family) send(packet []byte, through *net.Interface) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.use(through); err != nil {
		return err
	}
	_, err := f.conn.WriteToUDP(packet, f.group)
	return err
}

func (f *family) read(receive func(m *dns.Msg, zone string)) {
	buffer := make([]byte, maxPacket)
	for {
		n, from, err := f.conn.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an earlier packet
		}
		m := new(dns.Msg)
		if m.Unpack(buffer[:n]) == nil {
			receive(m, from.Addr().Zone())
		}
	}
}

// close ends the readers and waits for them.
func (s *sockets) close() error {
	var errs []error
	for _, f := range s.families {
		errs = append(errs, f.conn.Close())
	}
	s.readers.Wait()
	return errors.Join(errs...)
}
