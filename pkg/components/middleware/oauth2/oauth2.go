// Package oauth2 is the middleware that gets OAuth 2.0 tokens: oauth2 sends people through the authorization code flow
// and keeps their tokens in sessions of its own; oauth2clientcredentials puts the token of the sidecar's own client on
// requests.
package oauth2

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/oauth2"
)

// patience is how long one answer of the authorization server may take.
const patience = 10 * time.Second

// client is what calls the authorization server.
func client() context.Context {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true // a token lasts
	return context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: transport, Timeout: patience})
}

// paths are those to which a middleware applies; nil is all.
type paths struct{ filter *regexp.Regexp }

func parsePaths(filter string) (paths, error) {
	if filter == "" {
		return paths{}, nil
	}
	parsed, err := regexp.Compile(filter)
	if err != nil {
		return paths{}, fmt.Errorf("metadata property pathFilter is not usable: want a regular expression: %w", err)
	}
	return paths{parsed}, nil
}

func (p paths) match(path string) bool { return p.filter == nil || p.filter.MatchString(path) }

// tell logs why the authorization server gave no token. What the server said may hold secrets and stays out, but for
// the code of the error.
func tell(log logrus.FieldLogger, err error) {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.Response != nil {
		log.Warnf("the authorization server gave no token: it answered %s, error %q", refused.Response.Status, refused.ErrorCode)
		return
	}
	log.Warnf("the authorization server gave no token: %s", cause(err))
}

// cause is an error without the URL, which may hold parameters.
func cause(err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
