package bearer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/components/componentstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// issuer is an OpenID Connect issuer with one key at a time.
type issuer struct {
	*httptest.Server
	key   atomic.Pointer[jwk.Key]
	extra jwk.Key // in the set, too
	name  string  // what it calls itself; its URL if empty
	down  atomic.Bool
	asked atomic.Int32
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	i.rotate(t, "k1")
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		name := i.name
		if name == "" {
			name = i.URL
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": name, "jwks_uri": i.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.asked.Add(1)
		public, err := (*i.key.Load()).PublicKey()
		if err != nil {
			t.Error(err)
		}
		set := jwk.NewSet()
		_ = set.AddKey(public)
		if i.extra != nil {
			_ = set.AddKey(i.extra)
		}
		_ = json.NewEncoder(w).Encode(set)
	})
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(i.Close)
	return i
}

func newKey(t *testing.T, id string) jwk.Key {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwk.Import(private)
	if err != nil {
		t.Fatal(err)
	}
	_ = key.Set(jwk.KeyIDKey, id)
	return key
}

func (i *issuer) rotate(t *testing.T, id string) {
	key := newKey(t, id)
	i.key.Store(&key)
}

// token is a good token, changed by change.
func (i *issuer) token(t *testing.T, change func(*jwt.Builder)) string {
	t.Helper()
	b := jwt.NewBuilder().Issuer(i.URL).Audience([]string{"api", "other"}).Subject("ada").Expiration(time.Now().Add(time.Hour))
	if change != nil {
		change(b)
	}
	return sign(t, b, jwa.ES256(), *i.key.Load())
}

func sign(t *testing.T, b *jwt.Builder, algorithm jwa.SignatureAlgorithm, key any) string {
	t.Helper()
	token, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	signed, err := jwt.Sign(token, jwt.WithKey(algorithm, key))
	if err != nil {
		t.Fatal(err)
	}
	return string(signed)
}

func start(t *testing.T, properties map[string]string) (*bearer, *logtest.Hook) {
	t.Helper()
	spec := componentstest.Spec("middleware.http.bearer", properties)
	log, hook := logtest.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	spec.Log = log
	instance, err := New(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return instance.(*bearer), hook
}

// call gives the status of a call with the Authorization headers.
func call(b *bearer, authorization ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/v1.0/metadata", nil)
	for _, value := range authorization {
		r.Header.Add("Authorization", value)
	}
	w := httptest.NewRecorder()
	b.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })).ServeHTTP(w, r)
	return w
}

func TestTokens(t *testing.T) {
	i := newIssuer(t)
	symmetric, err := jwk.Import([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	_ = symmetric.Set(jwk.KeyIDKey, "shared")
	i.extra = symmetric
	b, hook := start(t, map[string]string{"issuerURL": i.URL, "clientID": "api"})
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	good := i.token(t, nil)
	stranger := newKey(t, "k1")
	tests := map[string]struct {
		authorization []string
		want          int
	}{
		"good":               {[]string{"Bearer " + good}, 204},
		"scheme in any case": {[]string{"bEARER " + good}, 204},
		"none":               {nil, 401},
		"empty":              {[]string{"Bearer "}, 401},
		"another scheme":     {[]string{"Basic " + good}, 401},
		"two headers":        {[]string{"Bearer " + good, "Bearer " + good}, 401},
		"too long":           {[]string{"Bearer " + strings.Repeat("a", longestToken)}, 401},
		"no token":           {[]string{"Bearer x"}, 401},
		"audience":           {[]string{"Bearer " + i.token(t, func(b *jwt.Builder) { b.Audience([]string{"x"}) })}, 401},
		"issuer":             {[]string{"Bearer " + i.token(t, func(b *jwt.Builder) { b.Issuer("https://evil.example.com") })}, 401},
		"over":               {[]string{"Bearer " + i.token(t, func(b *jwt.Builder) { b.Expiration(ago(6 * time.Minute)) })}, 401},
		"over, clocks":       {[]string{"Bearer " + i.token(t, func(b *jwt.Builder) { b.Expiration(ago(4 * time.Minute)) })}, 204},
		"not yet":            {[]string{"Bearer " + i.token(t, func(b *jwt.Builder) { b.NotBefore(time.Now().Add(6 * time.Minute)) })}, 401},
		"another key": {[]string{"Bearer " + sign(t, jwt.NewBuilder().Issuer(i.URL).Audience([]string{"api"}).
			Expiration(time.Now().Add(time.Hour)), jwa.ES256(), stranger)}, 401},
		"symmetric": {[]string{"Bearer " + sign(t, jwt.NewBuilder().Issuer(i.URL).Audience([]string{"api"}).
			Expiration(time.Now().Add(time.Hour)), jwa.HS256(), symmetric)}, 401},
		"alg none": {[]string{"Bearer " + none(good)}, 401},
		"tampered": {[]string{"Bearer " + good[:len(good)-4] + "AAAA"}, 401},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := call(b, test.authorization...)
			if w.Code != test.want {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if challenge := w.Header().Get("WWW-Authenticate"); (w.Code == 401) != strings.HasPrefix(challenge, "Bearer") {
				t.Errorf("WWW-Authenticate %q", challenge)
			}
		})
	}
	if n := i.asked.Load(); n != 1 {
		t.Errorf("the keys were read %d times", n)
	}
	for _, entry := range hook.AllEntries() {
		if strings.Contains(entry.Message, good) {
			t.Errorf("a token is in the log: %s", entry.Message)
		}
	}
}

// none is the token with the algorithm none and no signature.
func none(token string) string {
	parts := strings.Split(token, ".")
	return "eyJhbGciOiJub25lIn0." + parts[1] + "."
}

func TestRotation(t *testing.T) {
	i := newIssuer(t)
	b, _ := start(t, map[string]string{"issuer": i.URL, "audience": "api"})
	now := time.Now()
	b.keys.now = func() time.Time { return now }
	old := i.token(t, nil)
	i.rotate(t, "k2")
	if w := call(b, "Bearer "+i.token(t, nil)); w.Code != 401 || i.asked.Load() != 1 {
		t.Errorf("within ten minutes: %d, asked %d times", w.Code, i.asked.Load())
	}
	now = now.Add(refresh + time.Second)
	if w := call(b, "Bearer "+i.token(t, nil)); w.Code != 204 || i.asked.Load() != 2 {
		t.Errorf("after ten minutes: %d, asked %d times", w.Code, i.asked.Load())
	}
	if w := call(b, "Bearer "+old); w.Code != 401 {
		t.Errorf("a token of the old key: %d", w.Code)
	}
	now = now.Add(oldest)
	i.down.Store(true)
	if w := call(b, "Bearer "+i.token(t, nil)); w.Code != 204 {
		t.Errorf("with the issuer away and old keys: %d", w.Code)
	}
}

func TestIssuerAway(t *testing.T) {
	i := newIssuer(t)
	i.down.Store(true)
	b, hook := start(t, map[string]string{"issuer": i.URL, "audience": "api"})
	if last := hook.LastEntry(); last == nil || last.Level != logrus.WarnLevel || !strings.Contains(last.Message, "503 Service Unavailable") {
		t.Errorf("the log says %v", last)
	}
	token := "Bearer " + i.token(t, nil)
	if w := call(b, token); w.Code != 503 {
		t.Errorf("while it is away: %d", w.Code)
	}
	i.down.Store(false)
	b.keys.now = func() time.Time { return time.Now().Add(2 * retry) }
	if w := call(b, token); w.Code != 204 {
		t.Errorf("when it is back: %d", w.Code)
	}
}

func TestSettings(t *testing.T) {
	i := newIssuer(t)
	i.name = "https://another.example.com"
	for name, test := range map[string]struct {
		properties map[string]string
		want       string
	}{
		"nothing":       {nil, "metadata property issuer is missing"},
		"no audience":   {map[string]string{"issuer": i.URL}, "metadata property audience is missing"},
		"no URL":        {map[string]string{"issuer": "x", "audience": "a"}, "metadata property issuer is not usable"},
		"other issuer":  {map[string]string{"issuer": i.URL, "audience": "a"}, `calls itself "https://another.example.com"`},
		"nothing there": {map[string]string{"issuer": i.URL, "audience": "a", "jwksURL": i.URL + "/missing"}, "answers 404"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(t.Context(), componentstest.Spec("middleware.http.bearer", test.properties)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestReadme(t *testing.T) {
	i := newIssuer(t)
	spec := componentstest.FromReadme(t, "middleware.http.bearer", "https://accounts.example.com/keys", i.URL+"/keys")
	instance, err := New(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	token := i.token(t, func(b *jwt.Builder) { b.Issuer("https://accounts.example.com").Audience([]string{"my-api"}) })
	if w := call(instance.(*bearer), "Bearer "+token); w.Code != 204 {
		t.Errorf("%d", w.Code)
	}
}
