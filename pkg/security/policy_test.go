package security

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/config"
)

// shop is the caller of the tests.
var shop = Caller{TrustDomain: "td", Namespace: "ns", AppID: "shop"}

// called is the context of a call by who has certificates with these URIs: none for no URI, no TLS for nil.
func called(t testing.TB, uris []string) context.Context {
	t.Helper()
	if uris == nil {
		return peer.NewContext(t.Context(), &peer.Peer{})
	}
	var state tls.ConnectionState
	if len(uris) > 0 {
		certificate := &x509.Certificate{}
		for _, text := range uris {
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			certificate.URIs = append(certificate.URIs, u)
		}
		state.PeerCertificates = []*x509.Certificate{certificate, {URIs: []*url.URL{{Scheme: "spiffe", Host: "td", Path: "/ns/ns/issuer"}}}}
	}
	return peer.NewContext(t.Context(), &peer.Peer{AuthInfo: credentials.TLSInfo{State: state}})
}

func TestCallerOf(t *testing.T) {
	bad := Caller{}
	for text, want := range map[string]Caller{
		"spiffe://td/ns/ns/shop":                 shop,
		"spiffe://a.b_c-1/ns/Kube-1/App_1.x":     {"a.b_c-1", "Kube-1", "App_1.x"},
		"spiffe://td/ns/dapr-system/dapr-sentry": {"td", "dapr-system", "dapr-sentry"},

		"https://td/ns/ns/shop": bad, "spiffe:/ns/ns/shop": bad, "spiffe:td/ns/ns/shop": bad, "spiffe:///ns/ns/shop": bad,
		"spiffe://td/ns/ns/shop/": bad, "spiffe://td/ns/ns/shop/more": bad, "spiffe://td/ns/ns": bad, "spiffe://td/ns/ns/": bad,
		"spiffe://td/ns//shop": bad, "spiffe://td//ns/ns/shop": bad, "spiffe://td/NS/ns/shop": bad, "spiffe://td/sa/ns/shop": bad,
		"spiffe://td": bad, "spiffe://td/": bad, "spiffe://TD/ns/ns/shop": bad, "spiffe://td:80/ns/ns/shop": bad,
		"spiffe://u@td/ns/ns/shop": bad, "spiffe://td/ns/ns/shop?q": bad, "spiffe://td/ns/ns/shop?": bad, "spiffe://td/ns/ns/shop#f": bad,
		"spiffe://td/ns/ns/sh%6Fp": bad, "spiffe://td/ns/../ns/shop": bad, "spiffe://td/ns/ns/..": bad, "spiffe://td/ns/n%2Fs/shop": bad,
		"spiffe://td/ns/ns/shöp": bad,
	} {
		got, err := CallerOf(called(t, []string{text}))
		if got != want || (err != nil) != (want == bad) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if want != bad && got.String() != text {
			t.Errorf("%s is written %s", text, got)
		}
	}
	for name, uris := range map[string][]string{"plaintext": nil, "no certificate": {}} {
		if got, err := CallerOf(called(t, uris)); got != (Caller{}) || err != nil || got.String() != "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got, err := CallerOf(t.Context()); got != (Caller{}) || err != nil {
		t.Errorf("no peer: %+v, %v", got, err)
	}
	for _, uris := range [][]string{{"spiffe://td/ns/ns/shop", "spiffe://td/ns/ns/other"}, {"https://x", "spiffe://td/ns/ns/shop"}} {
		if got, err := CallerOf(called(t, uris)); got != (Caller{}) || !errors.Is(err, errOneURI) {
			t.Errorf("%s: %+v, %v", uris, got, err)
		}
	}
	ctx := peer.NewContext(t.Context(), &peer.Peer{AuthInfo: credentials.TLSInfo{State: tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}}})
	if _, err := CallerOf(ctx); !errors.Is(err, errOneURI) {
		t.Errorf("a certificate without a URI: %v", err)
	}
}

// specOf has one policy for shop: lines are its operations, "name" or "name VERBS", in order; a name that begins with !
// denies.
func specOf(global, own string, lines ...string) *config.AccessControlSpec {
	p := config.AppPolicy{AppID: "shop", Namespace: "ns", TrustDomain: "td", DefaultAction: own}
	for _, line := range lines {
		name, verbs, given := strings.Cut(line, " ")
		if !given {
			verbs = "*"
		}
		name, denied := strings.CutPrefix(name, "!")
		o := config.AppOperation{Name: name, HTTPVerbs: strings.Fields(verbs), Action: "allow"}
		if denied {
			o.Action = "deny"
		}
		p.Operations = append(p.Operations, o)
	}
	return &config.AccessControlSpec{DefaultAction: global, TrustDomain: "public", Policies: []config.AppPolicy{p}}
}

// TestPaths: which operation a path belongs to, as runs of Dapr 1.18.3 showed it.
func TestPaths(t *testing.T) {
	for name, c := range map[string]struct {
		operations      []string
		allowed, denied string
	}{
		"equal text":                        {[]string{"/a"}, "a A", "b ab b/a"},
		"no slash in front":                 {[]string{"a"}, "a", "b"},
		"an operation covers what is below": {[]string{"/a"}, "a/b a/b/c a/", "ab x/a"},
		"so does a glob":                    {[]string{"/glob*"}, "globx glob globa/z", "glo a/globx"},
		"the first match is final":          {[]string{"!/glob*", "/globx"}, "", "globx globy"},
		"whichever it is":                   {[]string{"/pq", "!/p*"}, "pq pq/x", "px p"},
		"no way back from a segment":        {[]string{"/p*/x", "/pq/y"}, "pq/x pz/x", "pq/y"},
		"a star is the last segment":        {[]string{"/st/*"}, "st/a st st/", "st/a/b"},
		"not one in the middle":             {[]string{"/mid/*/z"}, "mid/*/z", "mid/a/z mid/a mid"},
		"two stars at the end":              {[]string{"/d/**"}, "d d/a d/a/b/c", "e dd"},
		"two stars in the middle":           {[]string{"/mid2/**/z"}, "mid2/a/z", "mid2/z mid2/a/b/z mid2/a mid2"},
		"below an operation":                {[]string{"/a", "!/a/b"}, "a a/b", ""},
		"above one":                         {[]string{"!/a/b", "/a"}, "a a/b", ""},
		"twice the same":                    {[]string{"/a", "!/a"}, "a", ""},
		"twice in another form":             {[]string{"!/a", "/a/"}, "", "a"},
		"bare, without a wildcard":          {[]string{"/a/b"}, "a/b", "a"},
		"bare, the first wildcard":          {[]string{"/a/x", "/a/*", "!/a/**"}, "a a/x a/y", "a/y/z"},
		"the root":                          {[]string{"/"}, "/", "a"},
		"a star at the root":                {[]string{"/*"}, "/ a", "a/b"},
		"all":                               {[]string{"/**"}, "/ a a/b", ""},
		"a glob in the middle":              {[]string{"/v*x/get"}, "vx/get v12x/get", "v12y/get vx"},
		"stars and characters":              {[]string{"/a*b*c"}, "abc aXbYc abbcc abcbc", "ab abcd xabc"},
		"characters of other globs":         {[]string{"/a?[b]", "/(x|y)"}, "(x|y)", "ax x ab"},
		"a name that is not canonical":      {[]string{"//x/./y/../z/"}, "x/z", "x"},
		"a path with a star":                {[]string{"/a/b"}, "a/b", "a/* */b **"},
		"in any case":                       {[]string{"/Get/Ünït*"}, "get/ünïts GET/ÜNÏT get/Ünïtx", "get/unit"},
		"a letter with two lower cases":     {[]string{"/k"}, "\u212a k K", "ſ"},
		"bytes that are no text":            {[]string{"/a\uFFFD"}, "a\uFFFD A\uFFFD", "a\xff a\xfe"},
		"an escape stays one":               {[]string{"/a%20b"}, "a%20b", "a\u00a0b"},
		"a long path":                       {[]string{"/" + strings.Repeat("x", 300) + "/*"}, strings.Repeat("X", 300) + "/y", strings.Repeat("X", 301) + "/y"},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := NewPolicy(specOf("deny", "", c.operations...), true)
			check := func(paths string, want bool) {
				for _, path := range strings.Split(paths, " ") {
					if paths == "" {
						continue
					}
					path = strings.TrimPrefix(path, "/")
					if got, _ := p.decide(shop, path, "GET"); got != want {
						t.Errorf("%q: allowed %t, want %t", path, got, want)
					}
				}
			}
			check(c.allowed, true)
			check(c.denied, false)
		})
	}
}

// TestDecisions: callers, default actions, verbs.
func TestDecisions(t *testing.T) {
	other := func(change func(*Caller)) Caller {
		c := shop
		change(&c)
		return c
	}
	two := specOf("deny", "deny", "/first")
	two.Policies = append(two.Policies, specOf("", "deny", "/second").Policies...)
	elsewhere := specOf("deny", "deny", "/here")
	elsewhere.Policies = append(elsewhere.Policies, config.AppPolicy{AppID: "shop", Namespace: "far", TrustDomain: "td", DefaultAction: "allow"})
	stranger := other(func(c *Caller) { c.AppID = "Shop" })
	for name, c := range map[string]struct {
		spec         *config.AccessControlSpec
		grpc         bool
		caller       Caller
		method, verb string
		allowed, own bool
	}{
		"no spec":                     {&config.AccessControlSpec{}, false, Caller{}, "a", "GET", true, false},
		"default of a file":           {&config.AccessControlSpec{DefaultAction: "allow", TrustDomain: "public"}, false, Caller{}, "a", "GET", true, false},
		"an action in upper case":     {&config.AccessControlSpec{DefaultAction: "ALLOW"}, false, Caller{}, "a", "GET", true, false},
		"neither word":                {&config.AccessControlSpec{DefaultAction: "alow"}, false, Caller{}, "a", "GET", false, false},
		"empty default":               {&config.AccessControlSpec{TrustDomain: "td"}, false, Caller{}, "a", "GET", false, false},
		"empty default, empty list":   {&config.AccessControlSpec{TrustDomain: "td", Policies: []config.AppPolicy{}}, false, Caller{}, "a", "GET", true, false},
		"empty default, policies":     {specOf("", "", "/a"), false, stranger, "a", "GET", false, false},
		"no identity, allow":          {specOf("allow", "deny", "!/a"), false, Caller{}, "a", "GET", true, false},
		"no identity, deny":           {specOf("deny", "allow", "/a"), false, Caller{}, "a", "GET", false, false},
		"another app":                 {specOf("deny", "allow", "/a"), false, stranger, "a", "GET", false, false},
		"another namespace":           {specOf("allow", "deny"), false, other(func(c *Caller) { c.Namespace = "x" }), "a", "GET", true, false},
		"another trust domain":        {specOf("deny", "allow", "/a"), false, other(func(c *Caller) { c.TrustDomain = "x" }), "a", "GET", false, false},
		"own default":                 {specOf("deny", "allow"), false, shop, "a", "GET", true, true},
		"own default denies":          {specOf("allow", "Deny"), false, shop, "a", "GET", false, true},
		"own default is neither word": {specOf("allow", "yes"), false, shop, "a", "GET", false, true},
		"no own default":              {specOf("allow", ""), false, shop, "a", "GET", true, false},
		"operation":                   {specOf("deny", "", "/a"), false, shop, "a", "GET", true, false},
		"operation denies":            {specOf("allow", "allow", "!/a"), false, shop, "a", "GET", false, true},
		"operation's action is empty": {func() *config.AccessControlSpec {
			s := specOf("allow", "allow", "/a")
			s.Policies[0].Operations[0].Action = ""
			return s
		}(), false, shop, "a", "GET", false, true},
		"verb":                             {specOf("deny", "", "/a GET POST"), false, shop, "a", "POST", true, false},
		"another verb":                     {specOf("deny", "", "/a GET POST"), false, shop, "a", "PUT", false, false},
		"another verb takes own default":   {specOf("deny", "allow", "!/a GET"), false, shop, "a", "PUT", true, true},
		"a verb in lower case is none":     {specOf("deny", "", "/a get"), false, shop, "a", "GET", false, false},
		"no verbs: no change":              {specOf("deny", "allow", "!/a "), false, shop, "a", "GET", true, true},
		"no verbs, but it ends the search": {specOf("deny", "", "/a ", "/a/b"), false, shop, "a/b", "GET", false, false},
		"NONE takes own default":           {specOf("allow", "allow", "!/a"), false, shop, "a", NoVerb, true, true},
		"NONE, own default empty":          {specOf("allow", "", "/a"), false, shop, "a", NoVerb, false, false},
		"NONE beside the operations":       {specOf("allow", "", "/a"), false, shop, "b", NoVerb, true, false},
		"gRPC: verbs do not count":         {specOf("deny", "", "/pkg.S/M GET"), true, shop, "pkg.S/M", NoVerb, true, false},
		"gRPC: without verbs":              {specOf("deny", "", "/pkg.S/M "), true, shop, "pkg.S/M", "", true, false},
		"gRPC: case counts":                {specOf("deny", "", "/pkg.S/M"), true, shop, "pkg.s/M", "", false, false},
		"gRPC: a whole service":            {specOf("deny", "", "/pkg.S/*"), true, shop, "pkg.S/M", "", true, false},
		"proxied to an HTTP app":           {specOf("allow", "allow", "!/pkg.S/M GET"), false, shop, "pkg.S/M", "", false, true},
		"the last policy replaces: before": {two, false, shop, "first", "GET", false, true},
		"the last policy replaces: after":  {two, false, shop, "second", "GET", true, true},
		"the same app elsewhere":           {elsewhere, false, other(func(c *Caller) { c.Namespace = "far" }), "x", "GET", true, true},
		"the same app here":                {elsewhere, false, shop, "x", "GET", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := NewPolicy(c.spec, !c.grpc)
			if allowed, own := p.decide(c.caller, c.method, c.verb); allowed != c.allowed || own != c.own {
				t.Errorf("allowed %t, own %t; want %t, %t", allowed, own, c.allowed, c.own)
			}
		})
	}
	if allowed, _ := new(Policy).decide(Caller{}, "a", "GET"); allowed {
		t.Error("the zero Policy allows")
	}
}

func TestDoubts(t *testing.T) {
	spec := specOf("", "sure", "/a get", "/a", "/b", "/b/c/*", "/d ", "/e%20f", "/g *")
	spec.Policies[0].Operations[6].Action = "perhaps"
	spec.Policies = append(spec.Policies, config.AppPolicy{AppID: "shop", Namespace: "ns", TrustDomain: "td"})
	_, got := NewPolicy(spec, true)
	const at = "spec.accessControl.policies[0] (appId shop, namespace ns)"
	want := []string{
		"No global default action has been specified. Setting default global action as Deny",
		at + `.defaultAction "sure" is neither allow nor deny: it denies`,
		at + `.operations[0] (name /a): httpVerb "get" is none: they are GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH, or * for any`,
		at + ".operations[1] (name /a) has no effect: the first operation of this name holds",
		at + ".operations[4] (name /d) has no httpVerb: it changes nothing",
		at + ".operations[5] (name /e%20f): names are compared with decoded paths, without their query: this one stands for itself only",
		at + `.operations[6] (name /g).action "perhaps" is neither allow nor deny: it denies`,
		at + ": operation /b/c/* is never reached: /b is about everything below it, too",
		"spec.accessControl.policies[1] (appId shop, namespace ns) replaces the policy of the same app and namespace before it",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, spec := range map[string]*config.AccessControlSpec{
		"none": {}, "default": &config.DefaultConfiguration().Spec.AccessControl, "usual": specOf("deny", "Deny", "/a GET", "!/b/**"),
	} {
		if _, doubts := NewPolicy(spec, true); doubts != nil {
			t.Errorf("%s: %q", name, doubts)
		}
	}
	if _, doubts := NewPolicy(specOf("deny", "", "/pkg.S/M ", "/pkg.S/N get"), false); doubts != nil {
		t.Errorf("verbs of a gRPC app: %q", doubts)
	}
}

// decisions is an observer.
type decisions []string

func (d *decisions) AccessDecided(trustDomain, namespace, appID string, own, allowed bool) {
	*d = append(*d, fmt.Sprintf("%s|%s|%s own=%t allowed=%t", trustDomain, namespace, appID, own, allowed))
}

func TestAccessControl(t *testing.T) {
	var told decisions
	log, lines := logtest.NewNullLogger()
	a := NewAccessControl(&told, log)
	ctx := called(t, []string{shop.String()})
	if err := a.Allow(ctx, "a", "GET"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("without a Policy: %v", err)
	}
	a.Set(must(NewPolicy(&config.AccessControlSpec{}, true)))
	told, lines.Entries = nil, nil
	if err := a.Allow(ctx, "a", "GET"); err != nil || len(told) > 0 {
		t.Errorf("without access control: %v, counted %q", err, told)
	}
	a.Set(must(NewPolicy(specOf("deny", "allow", "!/no POST"), true)))
	for _, c := range []struct{ id, method, verb, want string }{
		{shop.String(), "yes", "GET", ""},
		{shop.String(), "no", "POST", "id: spiffe://td/ns/ns/shop operation: /no verb: POST"},
		{shop.String(), "no", "POST", "id: spiffe://td/ns/ns/shop operation: /no verb: POST"},
		{shop.String(), "no", "", "id: spiffe://td/ns/ns/shop operation: /no verb: NONE"},
		{"", "x", "GET", "id:  operation: /x verb: GET"},
		{"spiffe://td/sa/x", "yes", "GET", "id:  operation: /yes verb: GET"},
	} {
		uris := []string{c.id}
		if c.id == "" {
			uris = nil
		}
		err := a.Allow(called(t, uris), c.method, c.verb)
		if c.want == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if status.Code(err) != codes.PermissionDenied || status.Convert(err).Message() != "access control policy has denied access to "+c.want {
			t.Errorf("%s %s: %v, want %s", c.verb, c.method, err, c.want)
		}
	}
	const of = "td|ns|shop own=true allowed="
	if diff := cmp.Diff(decisions{of + "true", of + "false", of + "false", of + "false", "|| own=false allowed=false", "|| own=false allowed=false"}, told); diff != "" {
		t.Error(diff)
	}
	var got []string
	for _, entry := range lines.AllEntries() {
		got = append(got, entry.Message)
	}
	const more = "; further denials of this are counted only"
	want := []string{
		`access control denied "POST /no" to spiffe://td/ns/ns/shop` + more,
		`access control denied "NONE /no" to spiffe://td/ns/ns/shop` + more,
		`access control denied "GET /x" to a caller without a certificate, on which the global defaultAction decides` + more,
		`access control denied "GET /yes" to a caller that cannot be identified: "spiffe://td/sa/x" is not the SPIFFE id of an application ` +
			`(spiffe://<trust domain>/ns/<namespace>/<app id>)` + more,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestDenialsAreLoggedOnce: a caller cannot fill the memory, nor the log, nor put other lines into it.
func TestDenialsAreLoggedOnce(t *testing.T) {
	log, lines := logtest.NewNullLogger()
	a := NewAccessControl(new(decisions), log)
	deny := must(NewPolicy(&config.AccessControlSpec{DefaultAction: "deny"}, true))
	a.Set(deny)
	for i := range 3 * maxDeniedOperations {
		_ = a.Allow(t.Context(), fmt.Sprint("path", i), "GET")
	}
	if n := len(lines.AllEntries()); n != maxDeniedOperations {
		t.Errorf("%d lines of one caller", n)
	}
	for i := range 2 * maxDeniedCallers {
		_ = a.Allow(called(t, []string{fmt.Sprint("spiffe://td/ns/ns/app", i)}), "path", "GET")
	}
	if n := len(lines.AllEntries()); n != maxDeniedOperations+maxDeniedCallers-1 {
		t.Errorf("%d lines of all callers", n)
	}
	lines.Reset()
	a.Set(deny)
	_ = a.Allow(t.Context(), "a\nlevel=error"+strings.Repeat("x", 500), "GET")
	if got := lines.LastEntry(); got == nil || strings.Contains(got.Message, "\n") || len(got.Message) > 2*maxLoggedOperation {
		t.Errorf("logged %v", got)
	}
}

func must(p *Policy, _ []string) *Policy { return p }

// sample is a policy as users write them.
func sample() *config.AccessControlSpec {
	return specOf("deny", "deny", "/health", "/orders/* GET", "/orders GET POST", "!/admin/**", "/v1/Cart*/items GET", "/stock/**/count")
}

func TestDecidingAllocatesNothing(t *testing.T) {
	a := NewAccessControl(ignored{}, nil)
	a.Set(must(NewPolicy(sample(), true)))
	ctx := called(t, []string{shop.String()})
	for _, method := range []string{"orders/17", "stock/a/count", "V1/CARTS/Items", "health"} {
		if n := testing.AllocsPerRun(100, func() {
			if err := a.Allow(ctx, method, "GET"); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", method, n)
		}
	}
}

type ignored struct{}

func (ignored) AccessDecided(string, string, string, bool, bool) {}

func BenchmarkAllow(b *testing.B) {
	open := &config.AccessControlSpec{DefaultAction: "allow", TrustDomain: "public"}
	for name, c := range map[string]struct {
		spec *config.AccessControlSpec
		uris []string
	}{"a policy": {sample(), []string{shop.String()}}, "plaintext": {open, nil}} {
		b.Run(name, func(b *testing.B) {
			a := NewAccessControl(ignored{}, nil)
			a.Set(must(NewPolicy(c.spec, true)))
			ctx := called(b, c.uris)
			b.ReportAllocs()
			for b.Loop() {
				if err := a.Allow(ctx, "stock/warehouse/count", "GET"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
