package oauth2

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/sirupsen/logrus"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/middleware"
)

type credentialsSettings struct {
	ClientID     string   `metadata:"clientID,required"`
	ClientSecret string   `metadata:"clientSecret,required,secret"`
	Scopes       []string `metadata:"scopes"`
	TokenURL     string   `metadata:"tokenURL,required"`
	HeaderName   string   `metadata:"headerName,required" default:"Authorization"`
	// EndpointParams is a query string with further parameters for the token endpoint.
	EndpointParams string `metadata:"endpointParamsQuery,secret"`
	// AuthStyle is how the client names itself: 0 finds out, 1 in the parameters, 2 in the header.
	AuthStyle int `metadata:"authStyle"`
	// PathFilter restricts the middleware to paths that match the regular expression.
	PathFilter string `metadata:"pathFilter"`
}

type credentials struct {
	source oauth2.TokenSource
	header string
	paths  paths
	log    logrus.FieldLogger
}

// NewClientCredentials makes middleware.http.oauth2clientcredentials. The first call that needs it gets the token.
func NewClientCredentials(_ context.Context, spec *components.Spec) (middleware.Middleware, error) {
	var s credentialsSettings
	if err := components.Decode(spec, &s); err != nil {
		return nil, err
	}
	parameters, err := url.ParseQuery(s.EndpointParams)
	if err != nil {
		return nil, fmt.Errorf("metadata property endpointParamsQuery: the value (not shown) is not usable: want a query string like a=b&c=d")
	}
	if s.AuthStyle < 0 || s.AuthStyle > 2 {
		return nil, fmt.Errorf("metadata property authStyle: %d is not usable: want 0 (find out), 1 (parameters) or 2 (header)", s.AuthStyle)
	}
	if err := absolute("tokenURL", s.TokenURL); err != nil {
		return nil, err
	}
	filter, err := parsePaths(s.PathFilter)
	if err != nil {
		return nil, err
	}
	config := clientcredentials.Config{ClientID: s.ClientID, ClientSecret: s.ClientSecret, TokenURL: s.TokenURL, Scopes: s.Scopes,
		EndpointParams: parameters, AuthStyle: oauth2.AuthStyle(s.AuthStyle)}
	return &credentials{source: config.TokenSource(client()), header: s.HeaderName, paths: filter, log: spec.Log}, nil
}

func absolute(name, text string) error {
	if u, err := url.Parse(text); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("metadata property %s is not usable: want a URL like https://auth.example.com/path", name)
	}
	return nil
}

// Wrap puts the token into the header, in place of what the caller wrote there. Without a token the answer is 500.
func (c *credentials) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.paths.match(r.URL.Path) {
			token, err := c.source.Token()
			if err != nil {
				tell(c.log, err)
				http.Error(w, "no token for this call could be got", http.StatusInternalServerError)
				return
			}
			r.Header.Set(c.header, token.Type()+" "+token.AccessToken)
		}
		next.ServeHTTP(w, r)
	})
}
