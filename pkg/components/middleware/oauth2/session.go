package oauth2

import (
	"net/http"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/sirupsen/logrus"
	"golang.org/x/oauth2"
)

const (
	// flowAge is how long a caller has to sign in.
	flowAge = 10 * time.Minute
	// sessionAge is how long a session lasts, however much it is used.
	sessionAge = 24 * time.Hour
	// most is how many flows and how many sessions are kept. The oldest give way.
	most = 10_000
)

// sessions are the flows under way and the tokens of those who signed in, in memory, by ids that nobody can guess. The
// two are apart, so that callers who only begin flows end nobody's session.
type sessions struct {
	flows  *lru.Cache[string, *flow]
	signed *lru.Cache[string, *session]
	now    func() time.Time
}

// flow is what is known of a caller who was sent to sign in.
type flow struct {
	state, verifier, target string
	began                   time.Time
}

type session struct {
	source oauth2.TokenSource
	began  time.Time
}

func newSessions() (*sessions, error) {
	flows, err := lru.New[string, *flow](most)
	if err != nil {
		return nil, err
	}
	signed, err := lru.New[string, *session](most)
	return &sessions{flows: flows, signed: signed, now: time.Now}, err
}

func (s *sessions) begin(f *flow) (id string) {
	id, f.began = oauth2.GenerateVerifier(), s.now()
	s.flows.Add(id, f)
	return id
}

// end takes the flow away; nil if there is none.
func (s *sessions) end(id string) *flow {
	f, ok := s.flows.Peek(id)
	if !ok || !s.flows.Remove(id) || s.now().Sub(f.began) > flowAge {
		return nil
	}
	return f
}

func (s *sessions) keep(source oauth2.TokenSource) (id string) {
	id = oauth2.GenerateVerifier()
	s.signed.Add(id, &session{source, s.now()})
	return id
}

// token is the session's token, refreshed where it is over; nil without one.
func (s *sessions) token(id string, log logrus.FieldLogger) *oauth2.Token {
	if id == "" {
		return nil
	}
	found, ok := s.signed.Get(id)
	if !ok {
		return nil
	}
	if s.now().Sub(found.began) > sessionAge {
		s.signed.Remove(id)
		return nil
	}
	token, err := found.source.Token()
	if err != nil {
		tell(log, err)
		s.signed.Remove(id)
		return nil
	}
	return token
}

// cookie carries the id of a session.
type cookie struct {
	name   string
	secure bool
}

// cookieName is a component's name as far as it can stand in a cookie's.
func cookieName(component string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' {
			return c
		}
		return '_'
	}, component)
}

// take reads the cookie and takes it out of the request: it is nobody else's matter.
func (c cookie) take(r *http.Request) (id string) {
	sent := r.Header.Values("Cookie")
	r.Header.Del("Cookie")
	for _, line := range sent {
		var kept []string
		for pair := range strings.SplitSeq(line, ";") {
			if name, value, _ := strings.Cut(strings.TrimSpace(pair), "="); name == c.name {
				id = value
			} else {
				kept = append(kept, pair)
			}
		}
		if rest := strings.TrimSpace(strings.Join(kept, ";")); rest != "" {
			r.Header.Add("Cookie", rest)
		}
	}
	return id
}

func (c cookie) give(w http.ResponseWriter, id string, age time.Duration) {
	http.SetCookie(w, &http.Cookie{Name: c.name, Value: id, Path: "/", MaxAge: int(age.Seconds()), Secure: c.secure, HttpOnly: true,
		SameSite: http.SameSiteLaxMode})
}
