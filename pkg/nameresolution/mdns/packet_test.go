package mdns

import (
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/mdns"
	"github.com/miekg/dns"

	"github.com/daprd/daprd/pkg/nameresolution"
)

func testService(t testing.TB, host string) *service {
	t.Helper()
	s, err := newService(nameresolution.Announcement{AppID: "nodeapp", Host: host, Port: 50002}, "box", 42)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wire gives the packet as the other side reads it.
func wire(t testing.TB, m *dns.Msg) *dns.Msg {
	t.Helper()
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	read := new(dns.Msg)
	if err := read.Unpack(packet); err != nil {
		t.Fatal(err)
	}
	return read
}

func lines(records []dns.RR) []string {
	out := []string{}
	for _, rr := range records {
		out = append(out, strings.Join(strings.Fields(rr.String()), " "))
	}
	return out
}

func TestAnnouncement(t *testing.T) {
	cases := map[string]struct {
		host    string
		goodbye bool
		want    []string
	}{
		"hello": {"10.0.0.1", false, []string{
			"box:42.nodeapp.local. 3200 CLASS32769 SRV 0 0 50002 box.local.",
			`box:42.nodeapp.local. 3200 CLASS32769 TXT "nodeapp"`,
			"nodeapp.local. 3200 IN PTR box:42.nodeapp.local.",
			"_services._dns-sd._udp.local. 3200 IN PTR nodeapp.local.",
			"box.local. 120 CLASS32769 A 10.0.0.1",
		}},
		"goodbye": {"fd00::1", true, []string{
			"box:42.nodeapp.local. 0 CLASS32769 SRV 0 0 50002 box.local.",
			`box:42.nodeapp.local. 0 CLASS32769 TXT "nodeapp"`,
			"nodeapp.local. 0 IN PTR box:42.nodeapp.local.",
			"_services._dns-sd._udp.local. 0 IN PTR nodeapp.local.",
			"box.local. 0 CLASS32769 AAAA fd00::1",
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			m := testService(t, tc.host).announcement(tc.goodbye)
			if diff := cmp.Diff(tc.want, lines(wire(t, m).Answer)); diff != "" {
				t.Error(diff)
			}
			packet, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]byte{0, 0, 0x80, 0, 0, 0, 0, 5, 0, 0, 0, 0}, packet[:12]); diff != "" {
				t.Errorf("header: %s", diff)
			}
		})
	}
}

func TestAnswer(t *testing.T) {
	m := testService(t, "10.0.0.1").answer(0x1234)
	read := wire(t, m)
	if diff := cmp.Diff([]string{"nodeapp.local. 3200 IN PTR box:42.nodeapp.local."}, lines(read.Answer)); diff != "" {
		t.Error(diff)
	}
	want := []string{
		"box:42.nodeapp.local. 3200 IN SRV 0 0 50002 box.local.",
		`box:42.nodeapp.local. 3200 IN TXT "nodeapp"`,
		"box.local. 120 IN A 10.0.0.1",
	}
	if diff := cmp.Diff(want, lines(read.Extra)); diff != "" {
		t.Error(diff)
	}
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]byte{0x12, 0x34, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 3}, packet[:12]); diff != "" {
		t.Errorf("header: %s", diff)
	}
}

func TestQuestion(t *testing.T) {
	packet, err := question("nodeapp.local.").Pack()
	if err != nil {
		t.Fatal(err)
	}
	want := append([]byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, "\x07nodeapp\x05local\x00\x00\x0c\x00\x01"...)
	if diff := cmp.Diff(want, packet[2:]); diff != "" {
		t.Error(diff)
	}
}

func TestIsAsked(t *testing.T) {
	s := testService(t, "10.0.0.1")
	ask := func(name string, kind uint16, change ...func(*dns.Msg)) *dns.Msg {
		m := new(dns.Msg)
		m.SetQuestion(name, kind)
		for _, c := range change {
			c(m)
		}
		return m
	}
	cases := map[string]struct {
		m    *dns.Msg
		want bool
	}{
		"service":        {ask("nodeapp.local.", dns.TypePTR), true},
		"any":            {ask("nodeapp.local.", dns.TypeANY), true},
		"instance":       {ask("box:42.nodeapp.local.", dns.TypePTR), true},
		"unicast wanted": {ask("nodeapp.local.", dns.TypePTR, func(m *dns.Msg) { m.Question[0].Qclass |= flush }), true},
		"among others": {ask("x.local.", dns.TypePTR, func(m *dns.Msg) {
			m.Question = append(m.Question, dns.Question{Name: "nodeapp.local.", Qtype: dns.TypePTR, Qclass: dns.ClassINET})
		}), true},
		"other app":   {ask("app.local.", dns.TypePTR), false},
		"letter case": {ask("NodeApp.local.", dns.TypePTR), false},
		"address":     {ask("nodeapp.local.", dns.TypeA), false},
		"answer":      {ask("nodeapp.local.", dns.TypePTR, func(m *dns.Msg) { m.Response = true }), false},
		"probe":       {ask("box:42.nodeapp.local.", dns.TypePTR, func(m *dns.Msg) { m.Ns = s.answer(0).Extra }), false},
		"update":      {ask("nodeapp.local.", dns.TypePTR, func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := s.isAsked(wire(t, tc.m)); got != tc.want {
				t.Errorf("isAsked = %v", got)
			}
		})
	}
}

func record(t *testing.T, text string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

func TestSightings(t *testing.T) {
	const (
		srv  = "i.app.local. 3200 IN SRV 0 0 50002 box.local."
		txt  = `i.app.local. 3200 IN TXT "app"`
		four = "box.local. 120 IN A 10.0.0.1"
		six  = "box.local. 120 IN AAAA fd00::1"
	)
	app := sighting{appID: "app", address: "10.0.0.1:50002"}
	cases := map[string]struct {
		records []string
		want    []sighting
	}{
		"whole":             {[]string{srv, txt, four}, []sighting{app}},
		"any order":         {[]string{four, txt, srv}, []sighting{app}},
		"IPv6":              {[]string{srv, txt, six}, []sighting{{appID: "app", address: "[fd00::1]:50002", ipv6: true}}},
		"both":              {[]string{srv, txt, six, four}, []sighting{app}},
		"first IPv4":        {[]string{srv, txt, four, "box.local. 120 IN A 10.0.0.2"}, []sighting{app}},
		"link-local":        {[]string{srv, txt, "box.local. 120 IN AAAA fe80::1"}, []sighting{{appID: "app", address: "[fe80::1%eth0]:50002", ipv6: true}}},
		"goodbye":           {[]string{strings.Replace(srv, "3200", "0", 1), txt, four}, []sighting{{appID: "app", address: "10.0.0.1:50002", goodbye: true}}},
		"further TXT":       {[]string{srv, `i.app.local. 1 IN TXT "app" "more"`, four}, []sighting{app}},
		"no TXT":            {[]string{srv, four}, nil},
		"no SRV":            {[]string{txt, four}, nil},
		"no address":        {[]string{srv, txt}, nil},
		"other host":        {[]string{srv, txt, "other.local. 120 IN A 10.0.0.1"}, nil},
		"other TXT":         {[]string{srv, `i.app.local. 1 IN TXT "other"`, four}, nil},
		"longer name":       {[]string{"i.myapp.local. 1 IN SRV 0 0 1 box.local.", `i.myapp.local. 1 IN TXT "app"`, four}, nil},
		"letter case":       {[]string{srv, `i.app.local. 1 IN TXT "App"`, four}, nil},
		"no port":           {[]string{"i.app.local. 1 IN SRV 0 0 0 box.local.", txt, four}, nil},
		"unspecified host":  {[]string{srv, txt, "box.local. 1 IN A 0.0.0.0"}, nil},
		"multicast host":    {[]string{srv, txt, "box.local. 1 IN A 224.0.0.251"}, nil},
		"nothing":           {nil, nil},
		"two in one packet": {[]string{srv, txt, "j.app.local. 1 IN SRV 0 0 1 c.local.", `j.app.local. 1 IN TXT "app"`, four, "c.local. 1 IN A 10.0.0.3"}, []sighting{app, {appID: "app", address: "10.0.0.3:1"}}},
	}
	for name, tc := range cases {
		for _, section := range []string{"answers", "additional"} {
			t.Run(name+" in "+section, func(t *testing.T) {
				m := &dns.Msg{}
				for _, text := range tc.records {
					if section == "answers" {
						m.Answer = append(m.Answer, record(t, text))
					} else {
						m.Extra = append(m.Extra, record(t, text))
					}
				}
				got := sightings(wire(t, m), "eth0")
				if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(sighting{})); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// What is announced is recognised, whatever the app is called.
func TestOwnPacketsAreUnderstood(t *testing.T) {
	for _, id := range []string{"app", "App-1", "my app", "a.b", `q"u\o`, "ä\x00\n", "_services", "7", strings.Repeat("x", 63)} {
		s, err := newService(nameresolution.Announcement{AppID: id, Host: "10.0.0.1", Port: 1}, "my.box", 1)
		if err != nil {
			t.Errorf("%q: %v", id, err)
			continue
		}
		for kind, m := range map[string]*dns.Msg{"announcement": s.announcement(false), "answer": s.answer(1)} {
			got := sightings(wire(t, m), "")
			want := []sighting{{appID: id, address: "10.0.0.1:1"}}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(sighting{})); diff != "" {
				t.Errorf("%s of %q: %s", kind, id, diff)
			}
		}
		if !s.isAsked(wire(t, question(s.name))) {
			t.Errorf("%q does not hear its question", id)
		}
	}
}

func TestNewServiceRefuses(t *testing.T) {
	cases := map[string]struct {
		a    nameresolution.Announcement
		want string
	}{
		"name":    {nameresolution.Announcement{Host: "10.0.0.1", Port: 1}, "name is missing"},
		"address": {nameresolution.Announcement{AppID: "a", Port: 1}, "address is missing"},
		"host":    {nameresolution.Announcement{AppID: "a", Host: "box", Port: 1}, `address "box" is no IP address; set DAPR_HOST_IP`},
		"port":    {nameresolution.Announcement{AppID: "a", Host: "10.0.0.1"}, "port is missing or invalid"},
		"large":   {nameresolution.Announcement{AppID: "a", Host: "10.0.0.1", Port: 65536}, "port is missing or invalid"},
		"long":    {nameresolution.Announcement{AppID: strings.Repeat("x", 64), Host: "10.0.0.1", Port: 1}, "cannot be a DNS name (at most 63 bytes)"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := newService(tc.a, "box", 1)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestRecordsForUnicast(t *testing.T) {
	s := testService(t, "10.0.0.1")
	for name, want := range map[string]int{s.name: 4, s.instance: 4, enumeration: 1, "other.local.": 0, s.host: 0} {
		if got := s.Records(dns.Question{Name: name, Qtype: dns.TypePTR}); len(got) != want {
			t.Errorf("%s: %d records, want %d", name, len(got), want)
		}
	}
	if got := s.Records(dns.Question{Name: s.name, Qtype: dns.TypeA}); len(got) != 0 {
		t.Errorf("address question: %v", got)
	}
}

func TestSightingOfEntry(t *testing.T) {
	whole := mdns.ServiceEntry{Name: "i.app.local.", Port: 1, InfoFields: []string{"app"}, AddrV4: net.IPv4(10, 0, 0, 1), AddrV6IPAddr: &net.IPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}}
	cases := map[string]struct {
		change func(*mdns.ServiceEntry)
		want   sighting
		ok     bool
	}{
		"both":       {func(*mdns.ServiceEntry) {}, sighting{appID: "app", address: "10.0.0.1:1", secondHand: true}, true},
		"IPv6":       {func(e *mdns.ServiceEntry) { e.AddrV4 = nil }, sighting{appID: "app", address: "[fe80::1%eth0]:1", ipv6: true, secondHand: true}, true},
		"no address": {func(e *mdns.ServiceEntry) { e.AddrV4, e.AddrV6IPAddr = nil, nil }, sighting{}, false},
		"no TXT":     {func(e *mdns.ServiceEntry) { e.InfoFields = nil }, sighting{}, false},
		"other app":  {func(e *mdns.ServiceEntry) { e.InfoFields = []string{"pp"} }, sighting{}, false},
		"no port":    {func(e *mdns.ServiceEntry) { e.Port = 0 }, sighting{}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			entry := whole
			tc.change(&entry)
			got, ok := sightingOf(&entry)
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(sighting{})); diff != "" || ok != tc.ok {
				t.Errorf("ok %v, %s", ok, diff)
			}
		})
	}
}

func FuzzSightings(f *testing.F) {
	s := testService(f, "10.0.0.1")
	for _, m := range []*dns.Msg{s.answer(1), s.announcement(false), s.announcement(true), question(s.name), testService(f, "fe80::1").answer(2)} {
		packet, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packet)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		m := new(dns.Msg)
		if m.Unpack(packet) != nil {
			return
		}
		s.isAsked(m)
		for _, seen := range sightings(m, "eth0") {
			if host, port, err := net.SplitHostPort(seen.address); err != nil || host == "" || port == "" || port == "0" {
				t.Errorf("unusable address %q", seen.address)
			}
		}
	})
}
