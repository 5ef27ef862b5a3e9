package messaging_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/messaging"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	internalsv1 "github.com/daprd/daprd/pkg/proto/internals/v1"
	"github.com/daprd/daprd/pkg/security"
)

// opRule is an operation of a policy as a fuzzer writes it: "name", "name VERB VERB", "!name" for one that denies.
type opRule struct {
	name  string
	verbs []string
	allow bool
}

// rulesOf reads one rule a line. Names are made canonical, since it is not them that are tested.
func rulesOf(text string) (rules []opRule) {
	for line := range strings.SplitSeq(text, "\n") {
		name, verbs, _ := strings.Cut(line, " ")
		name, denies := strings.CutPrefix(name, "!")
		rules = append(rules, opRule{path.Clean("/" + name), strings.Fields(verbs), !denies})
	}
	return rules
}

func specOf(rules []opRule, own string, global bool) *config.AccessControlSpec {
	word := map[bool]string{false: "deny", true: "allow"}
	p := config.AppPolicy{AppID: "caller", Namespace: "ns", TrustDomain: "td", DefaultAction: own}
	for _, r := range rules {
		p.Operations = append(p.Operations, config.AppOperation{Name: r.name, HTTPVerbs: r.verbs, Action: word[r.allow]})
	}
	return &config.AccessControlSpec{DefaultAction: word[global], TrustDomain: "td", Policies: []config.AppPolicy{p}}
}

// expected decides on what the application saw, by the rules of access-control.md read again: over lists in place of a
// tree, with regular expressions in place of globs, on a path that net/http has decoded.
func expected(rules []opRule, own string, global bool, seen sight) bool {
	allowed := global
	if own != "" {
		allowed = own == "allow"
	}
	seenPath := seen.path
	var lists [][]string
	for _, r := range rules {
		name := r.name
		if seen.http {
			name = strings.ToLower(name)
		}
		lists = append(lists, strings.Split(name[1:], "/"))
	}
	if seen.http {
		seenPath = strings.ToLower(seenPath)
	}
	all := make([]int, len(rules))
	for i := range all {
		all[i] = i
	}
	found := chosen(lists, all, 0, strings.Split(strings.TrimSuffix(strings.TrimPrefix(seenPath, "/"), "/"), "/"))
	if found >= 0 && (!seen.http || slices.Contains(rules[found].verbs, "*") || slices.Contains(rules[found].verbs, seen.verb)) {
		return rules[found].allow
	}
	return allowed
}

// chosen is the rule for the segments from depth on, among the candidates; -1 for none.
func chosen(lists [][]string, candidates []int, depth int, segments []string) int {
	for _, first := range candidates {
		name := lists[first][depth]
		if !fits(name, segments[depth], depth == len(segments)-1) {
			continue
		}
		var deeper []int
		for _, i := range candidates {
			if lists[i][depth] == name {
				if len(lists[i]) == depth+1 {
					return i
				}
				deeper = append(deeper, i)
			}
		}
		if depth < len(segments)-1 {
			return chosen(lists, deeper, depth+1, segments)
		}
		return firstOf(lists, deeper, depth+1)
	}
	return -1
}

// firstOf is the rule of the wildcard that stands first among those that end at depth: a wildcard stands where its text
// is first seen, also in a longer rule.
func firstOf(lists [][]string, candidates []int, depth int) int {
	for _, first := range candidates {
		name := lists[first][depth]
		if name != "*" && name != "**" {
			continue
		}
		for _, i := range candidates {
			if lists[i][depth] == name && len(lists[i]) == depth+1 {
				return i
			}
		}
	}
	return -1
}

func fits(name, segment string, last bool) bool {
	if name == segment || name == "**" || name == "*" && last {
		return true
	}
	if name == "*" || !strings.Contains(name, "*") {
		return false
	}
	parts := strings.Split(name, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("(?s)^" + strings.Join(parts, ".*") + "$").MatchString(segment)
}

// sight is what an application saw of a call.
type sight struct {
	verb, path string
	http       bool
}

// callLocal makes a call as it comes from another sidecar, with an identity, but without a connection.
func callLocal(ctx context.Context, app channel.App, policy messaging.Policy, method string, verb int32) error {
	desc := messaging.NewCallee(messaging.CalleeDeps{AppID: "callee", App: filled(app), Policy: policy}).ServiceDesc()
	request := &internalsv1.InternalInvokeRequest{Ver: internalsv1.APIVersion_V1, Message: &commonv1.InvokeRequest{Method: method,
		HttpExtension: &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_Verb(verb)}}}
	decode := func(into any) error {
		b, err := request.MarshalVT()
		if err != nil {
			return err
		}
		return into.(interface{ UnmarshalWire([]byte) error }).UnmarshalWire(b)
	}
	i := slices.IndexFunc(desc.Methods, func(m grpc.MethodDesc) bool { return m.MethodName == "CallLocal" })
	_, err := desc.Methods[i].Handler(nil, ctx, decode, nil)
	return err
}

type uncounted struct{}

func (uncounted) AccessDecided(string, string, string, bool, bool) {}

// FuzzPolicyDecidesOnWhatIsDispatched: whatever other sidecars send, the policy lets a call pass if and only if it allows
// what the application is really asked for. An application over HTTP is asked over a socket, and what net/http makes of
// the request line is judged.
func FuzzPolicyDecidesOnWhatIsDispatched(f *testing.F) {
	for _, method := range []string{"admin", "/admin", "//admin", "ADMIN", "x/../admin", "x/%2e%2e/admin", "./admin", "admin/", "admin//x", "admin/..",
		"open/../admin", "open/..%2fadmin", "%61dmin", "%2561dmin", "admin%2Fx", "admin;x", "admin\\x", "admin?x", "admin#x", "admin\x00", "a\u212a", "ad\u017fmin",
		"admin\xff", "\uff41dmin", "open/x/y", "open/*/y", "**", "", "/", strings.Repeat("x/../", 50) + "admin", strings.Repeat("a", 300) + "/b"} {
		for verb := range int32(4) {
			f.Add("!/admin *\n/open/* GET\n!/o*n/**/y *\n/ak GET", verb%3, verb%2 == 0, verb != 3, method, verb)
			f.Add("/** *", int32(2), false, verb != 3, method, verb)
			f.Add("/admin GET\n/a*/x POST\n/open/*/y *\n/open/* *", int32(0), false, verb != 3, method, verb)
		}
	}
	var last *sight
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		last = &sight{r.Method, r.URL.Path, true}
	}))
	f.Cleanup(server.Close)
	app, err := channel.Open(channel.Settings{Address: server.Listener.Addr().String(), AppID: "callee"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = app.Close() })
	other := serving(func(_ context.Context, req *channel.Request) (*channel.Response, error) {
		last = &sight{req.Verb, "/" + req.Method, false}
		return &channel.Response{}, nil
	})
	ctx := peer.NewContext(context.Background(), &peer.Peer{AuthInfo: credentials.TLSInfo{State: tls.ConnectionState{PeerCertificates: []*x509.Certificate{
		{URIs: []*url.URL{{Scheme: "spiffe", Host: "td", Path: "/ns/ns/caller"}}}}}}})
	access := security.NewAccessControl(uncounted{}, logging.Discard().Scope("dapr.acl"))
	f.Fuzz(func(t *testing.T, text string, own int32, global, overHTTP bool, method string, verb int32) {
		// A byte that is no text becomes U+FFFD here, but not there.
		if strings.Contains(strings.ToValidUTF8(text, "\uFFFD"), "\uFFFD") || len(text) > 1000 {
			t.Skip()
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		rules, ownDefault := rulesOf(text), []string{"", "allow", "deny"}[uint32(own)%3]
		called := app
		if !overHTTP {
			called = other
		}
		last = nil
		err := callLocal(ctx, called, allowAll{}, method, verb)
		seen := last
		policy, _ := security.NewPolicy(specOf(rules, ownDefault, global), overHTTP)
		access.Set(policy)
		last = nil
		guarded := callLocal(ctx, called, access, method, verb)
		if seen == nil {
			if err == nil || guarded == nil || last != nil {
				t.Fatalf("without a policy: %v; under it: %v, and the application saw %v", err, guarded, last)
			}
			return
		}
		want := expected(rules, ownDefault, global, *seen)
		switch {
		case want && (last == nil || *last != *seen):
			t.Fatalf("%+v is allowed, but the application saw %v: %v", *seen, last, guarded)
		case !want && (last != nil || status.Code(guarded) != codes.PermissionDenied):
			t.Fatalf("%+v is denied, but the application saw %v: %v", *seen, last, guarded)
		}
	})
}
