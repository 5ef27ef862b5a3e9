package oauth2

import (
	"context"
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"

	"github.com/sirupsen/logrus"
	"golang.org/x/oauth2"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/middleware"
)

type codeSettings struct {
	ClientID     string   `metadata:"clientID,required"`
	ClientSecret string   `metadata:"clientSecret,required,secret"`
	Scopes       []string `metadata:"scopes"`
	AuthURL      string   `metadata:"authURL,required"`
	TokenURL     string   `metadata:"tokenURL,required"`
	RedirectURL  string   `metadata:"redirectURL,required"`
	AuthHeader   string   `metadata:"authHeaderName,required" default:"Authorization"`
	// ForceHTTPS goes by https where the request came by http.
	ForceHTTPS bool `metadata:"forceHTTPS"`
	// PathFilter restricts the middleware to paths that match the regular expression.
	PathFilter string `metadata:"pathFilter"`
}

type code struct {
	config     *oauth2.Config
	header     string
	paths      paths
	forceHTTPS bool
	cookie     cookie
	sessions   *sessions
	log        logrus.FieldLogger
}

// New makes middleware.http.oauth2.
func New(_ context.Context, spec *components.Spec) (middleware.Middleware, error) {
	var s codeSettings
	if err := components.Decode(spec, &s); err != nil {
		return nil, err
	}
	for name, text := range map[string]string{"authURL": s.AuthURL, "tokenURL": s.TokenURL, "redirectURL": s.RedirectURL} {
		if err := absolute(name, text); err != nil {
			return nil, err
		}
	}
	filter, err := parsePaths(s.PathFilter)
	if err != nil {
		return nil, err
	}
	sessions, err := newSessions()
	if err != nil {
		return nil, err
	}
	return &code{
		config: &oauth2.Config{ClientID: s.ClientID, ClientSecret: s.ClientSecret, Scopes: s.Scopes, RedirectURL: s.RedirectURL,
			Endpoint: oauth2.Endpoint{AuthURL: s.AuthURL, TokenURL: s.TokenURL}},
		header: s.AuthHeader, paths: filter, forceHTTPS: s.ForceHTTPS, sessions: sessions, log: spec.Log,
		cookie: cookie{name: "daprd-session-" + cookieName(spec.Name), secure: s.ForceHTTPS || strings.HasPrefix(s.RedirectURL, "https:")},
	}, nil
}

// Wrap puts the token of the session into the header. A caller without one is sent to the authorization server.
func (c *code) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.paths.match(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		id := c.cookie.take(r)
		if token := c.sessions.token(id, c.log); token != nil {
			r.Header.Set(c.header, token.Type()+" "+token.AccessToken)
			next.ServeHTTP(w, r)
			return
		}
		if r.URL.Query().Has("state") {
			c.back(w, r, id)
			return
		}
		c.send(w, r)
	})
}

// send begins the flow: the caller goes to the authorization server and comes back to the redirect URL.
func (c *code) send(w http.ResponseWriter, r *http.Request) {
	began := &flow{state: oauth2.GenerateVerifier(), verifier: oauth2.GenerateVerifier(), target: c.target(r)}
	c.cookie.give(w, c.sessions.begin(began), flowAge)
	redirect(w, c.config.AuthCodeURL(began.state, oauth2.S256ChallengeOption(began.verifier)))
}

// target is where the caller wanted to go: a path of this host, so that nobody is sent elsewhere.
func (c *code) target(r *http.Request) string {
	target := "/" + strings.TrimLeft(r.URL.RequestURI(), "/\\")
	if !c.forceHTTPS || r.Host == "" {
		return target
	}
	u, err := url.Parse("https://" + r.Host)
	if err != nil || u.Host != r.Host {
		return target
	}
	return "https://" + r.Host + target
}

// back ends the flow. A flow ends once, whatever comes of it.
func (c *code) back(w http.ResponseWriter, r *http.Request, id string) {
	query := r.URL.Query()
	began := c.sessions.end(id)
	switch {
	case began == nil || subtle.ConstantTimeCompare([]byte(began.state), []byte(query.Get("state"))) != 1:
		http.Error(w, "invalid state", http.StatusBadRequest)
		return
	case query.Get("code") == "":
		http.Error(w, "code not found", http.StatusBadRequest)
		return
	}
	token, err := c.config.Exchange(client(), query.Get("code"), oauth2.VerifierOption(began.verifier))
	if err != nil {
		tell(c.log, err)
		http.Error(w, "no token could be got for the code", http.StatusInternalServerError)
		return
	}
	// A new id: the one before the sign-in may be known to others.
	c.cookie.give(w, c.sessions.keep(c.config.TokenSource(client(), token)), sessionAge)
	redirect(w, began.target)
}

func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusFound)
}
