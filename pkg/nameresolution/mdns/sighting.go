package mdns

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// sighting is a sidecar that a packet tells of.
type sighting struct {
	appID   string
	address string // host:port
	ipv6    bool
	goodbye bool
	// secondHand is one that hashicorp/mdns reports, which does not tell a
	// goodbye from a hello.
	secondHand bool
}

// maxSightings bounds what one packet can tell.
const maxSightings = 64

// sightings reads a packet by Dapr's rule: an instance counts if its SRV, its TXT
// and an address of its host are in that one packet, and the first string of the
// TXT is the app id that the name ends in. Sender, id and flags do not matter.
// Where there is an IPv4 address it is taken. zone is the interface on which the
// packet came, for link-local addresses.
func sightings(m *dns.Msg, zone string) []sighting {
	var services []*dns.SRV
	apps := map[string]string{}
	hosts := map[string]netip.Addr{}
	for _, section := range [][]dns.RR{m.Answer, m.Extra} {
		for _, record := range section {
			switch rr := record.(type) {
			case *dns.SRV:
				services = append(services, rr)
			case *dns.TXT:
				if len(rr.Txt) > 0 {
					apps[rr.Hdr.Name] = rr.Txt[0]
				}
			case *dns.A:
				addHost(hosts, rr.Hdr.Name, rr.A, "")
			case *dns.AAAA:
				addHost(hosts, rr.Hdr.Name, rr.AAAA, zone)
			}
		}
	}
	var seen []sighting
	for _, srv := range services[:min(len(services), maxSightings)] {
		text, named := apps[srv.Hdr.Name]
		host, located := hosts[srv.Target]
		appID := unescapeText(text)
		if !named || !located || srv.Port == 0 || !belongs(srv.Hdr.Name, appID) {
			continue
		}
		seen = append(seen, sighting{
			appID:   appID,
			address: net.JoinHostPort(host.String(), strconv.Itoa(int(srv.Port))),
			ipv6:    host.Is6(),
			goodbye: srv.Hdr.Ttl == 0,
		})
	}
	return seen
}

// addHost keeps the first IPv4 address of a host, else the first IPv6 one.
func addHost(hosts map[string]netip.Addr, name string, ip net.IP, zone string) {
	address, ok := netip.AddrFromSlice(ip)
	if !ok {
		return
	}
	address = address.Unmap()
	if address.IsUnspecified() || address.IsMulticast() {
		return
	}
	if address.Is6() && address.IsLinkLocalUnicast() {
		if zone == "" {
			return
		}
		address = address.WithZone(zone)
	}
	if known, ok := hosts[name]; !ok || known.Is6() && address.Is4() {
		hosts[name] = address
	}
}

// belongs says whether the instance's name ends in <app id>.local. as it was
// written, letter case included.
func belongs(instance, appID string) bool {
	name, err := nameOf(appID)
	return err == nil && strings.HasSuffix(instance, "."+name)
}

// unescapeText gives the bytes of a TXT string, which package dns prints with
// escapes.
func unescapeText(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		if i+3 < len(s) {
			if code, err := strconv.ParseUint(s[i+1:i+4], 10, 8); err == nil {
				b.WriteByte(byte(code))
				i += 3
				continue
			}
		}
		i++
		b.WriteByte(s[i])
	}
	return b.String()
}
