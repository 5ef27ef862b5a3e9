package mdns

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/miekg/dns"

	"github.com/daprd/daprd/pkg/nameresolution"
)

const (
	domain = "local."
	// enumeration is where DNS-SD browsers ask which services there are.
	enumeration = "_services._dns-sd._udp." + domain

	// The life times that Dapr writes, in seconds.
	serviceTTL = 3200
	addressTTL = 120

	// flush is the bit of a record's class that says "this is the only one"
	// (RFC 6762, 10.2).
	flush = 1 << 15
)

// service is one announced sidecar as DNS records, in the form of Dapr's. It is
// also the zone of hashicorp's server, which answers by unicast.
type service struct {
	appID    string
	name     string // <app id>.local.
	instance string // <hostname>:<pid>.<app id>.local.
	host     string // <hostname>.local.
	ip       net.IP
	port     uint16
}

func newService(a nameresolution.Announcement, hostname string, pid int) (*service, error) {
	ip := net.ParseIP(a.Host)
	switch {
	case a.AppID == "":
		return nil, errors.New("name is missing")
	case a.Host == "":
		return nil, errors.New("address is missing")
	case ip == nil:
		return nil, fmt.Errorf("address %q is no IP address; set DAPR_HOST_IP", a.Host)
	case a.Port <= 0 || a.Port > 65535:
		return nil, errors.New("port is missing or invalid")
	}
	s := &service{appID: a.AppID, ip: ip, port: uint16(a.Port)}
	var err1, err2, err3 error
	s.name, err1 = nameOf(a.AppID)
	s.instance, err2 = nameOf(fmt.Sprintf("%s:%d", hostname, pid), a.AppID)
	s.host, err3 = nameOf(hostname)
	return s, errors.Join(err1, err2, err3)
}

// nameOf writes the labels, whatever is in them, as a name below local. in the
// form in which package dns prints names that it read.
func nameOf(labels ...string) (string, error) {
	var b strings.Builder
	for _, label := range labels {
		for i := range len(label) {
			fmt.Fprintf(&b, "\\%03d", label[i])
		}
		b.WriteByte('.')
	}
	wire := make([]byte, 512)
	_, err := dns.PackDomainName(b.String()+domain, wire, 0, nil, false)
	if err != nil {
		return "", fmt.Errorf("%q cannot be a DNS name (at most 63 bytes): %w", strings.Join(labels, " "), err)
	}
	name, _, err := dns.UnpackDomainName(wire, 0)
	return name, err
}

func (s *service) srv(class uint16, ttl uint32) dns.RR {
	return &dns.SRV{Hdr: header(s.instance, dns.TypeSRV, class, ttl), Port: s.port, Target: s.host}
}

// txt holds exactly one string, by which Dapr knows the entry.
func (s *service) txt(class uint16, ttl uint32) dns.RR {
	return &dns.TXT{Hdr: header(s.instance, dns.TypeTXT, class, ttl), Txt: []string{escapeText(s.appID)}}
}

func (s *service) address(class uint16, ttl uint32) dns.RR {
	if ip := s.ip.To4(); ip != nil {
		return &dns.A{Hdr: header(s.host, dns.TypeA, class, ttl), A: ip}
	}
	return &dns.AAAA{Hdr: header(s.host, dns.TypeAAAA, class, ttl), AAAA: s.ip}
}

func pointer(from, to string, ttl uint32) dns.RR {
	return &dns.PTR{Hdr: header(from, dns.TypePTR, dns.ClassINET, ttl), Ptr: to}
}

func header(name string, kind, class uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: class, Ttl: ttl}
}

// announcement is the packet that tells of the sidecar unasked, or, as a goodbye,
// that it leaves.
func (s *service) announcement(goodbye bool) *dns.Msg {
	var long, short uint32 = serviceTTL, addressTTL
	if goodbye {
		long, short = 0, 0
	}
	const only = dns.ClassINET | flush
	m := &dns.Msg{Answer: []dns.RR{
		s.srv(only, long),
		s.txt(only, long),
		pointer(s.name, s.instance, long),
		pointer(enumeration, s.name, long),
		s.address(only, short),
	}}
	m.Response, m.Compress = true, true
	return m
}

// answer is the packet that answers a question for the service. A Dapr sidecar
// needs all of it in one packet, and joins none with another.
func (s *service) answer(id uint16) *dns.Msg {
	m := &dns.Msg{
		Answer: []dns.RR{pointer(s.name, s.instance, serviceTTL)},
		Extra: []dns.RR{
			s.srv(dns.ClassINET, serviceTTL),
			s.txt(dns.ClassINET, serviceTTL),
			s.address(dns.ClassINET, addressTTL),
		},
	}
	m.Id, m.Response, m.Authoritative, m.Compress = id, true, true, true
	return m
}

// isAsked says whether the packet asks for this service or its instance. A probe
// (it carries what it would claim) is no question.
func (s *service) isAsked(m *dns.Msg) bool {
	if m.Response || m.Opcode != dns.OpcodeQuery || len(m.Ns) > 0 {
		return false
	}
	for _, q := range m.Question {
		if (q.Name == s.name || q.Name == s.instance) && (q.Qtype == dns.TypePTR || q.Qtype == dns.TypeANY) {
			return true
		}
	}
	return false
}

// Records makes the service a zone of hashicorp's server, with the same records
// as the packets that leave by multicast.
func (s *service) Records(q dns.Question) []dns.RR {
	if q.Qtype != dns.TypePTR && q.Qtype != dns.TypeANY {
		return nil
	}
	switch q.Name {
	case enumeration:
		return []dns.RR{pointer(enumeration, s.name, serviceTTL)}
	case s.name, s.instance:
		m := s.answer(0)
		return append(m.Answer, m.Extra...)
	}
	return nil
}

// question is the packet that asks for the sidecars of an app.
func question(name string) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypePTR)
	m.RecursionDesired = false
	return m
}

// escapeText writes what package dns would take for an escape in a TXT string.
func escapeText(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)
}
