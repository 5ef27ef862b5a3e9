package keyring

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/crypto"
	"github.com/daprd/daprd/pkg/resiliency"
)

// maxKeySet bounds a key set, in bytes.
const maxKeySet = 4 << 20

// jwksSettings are the properties of crypto.dapr.jwks.
type jwksSettings struct {
	// JWKS is a URL, the path of a file, or the text itself, possibly in base64. A text can hold private keys.
	JWKS               string        `metadata:"jwks,required,secret"`
	RequestTimeout     time.Duration `metadata:"requestTimeout" default:"30s"`
	MinRefreshInterval time.Duration `metadata:"minRefreshInterval" default:"10m"`
}

// keySet finds keys by their id. It is read anew when it has grown old; while that fails the old one stays.
type keySet struct {
	// read gives the set and the time until which it need not be read again; the zero time means for ever.
	read func(ctx context.Context) (jwk.Set, time.Time, error)
	// stale says that the set has changed, whatever the time.
	stale func() bool

	held       atomic.Pointer[reading]
	refreshing sync.Mutex
}

// reading is a set and until when it need not be read again.
type reading struct {
	set   jwk.Set
	until time.Time
}

var errNoKey = resiliency.Mistake(http.StatusNotFound, errors.New("key not found"))

// NewJWKS is the factory of crypto.dapr.jwks. A set that cannot be read at first is an error.
func NewJWKS(ctx context.Context, spec *components.Spec) (crypto.Provider, error) {
	var settings jwksSettings
	if err := components.Decode(spec, &settings); err != nil {
		return nil, err
	}
	s, err := newKeySet(&settings)
	if err != nil {
		return nil, err
	}
	set, until, err := s.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("metadata property jwks: %w", err)
	}
	s.held.Store(&reading{set, until})
	return provider{s}, nil
}

func newKeySet(settings *jwksSettings) (*keySet, error) {
	text := strings.TrimSpace(settings.JWKS)
	if strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://") {
		return overHTTP(text, settings), nil
	}
	if info, err := os.Stat(text); err == nil && info.Mode().IsRegular() {
		return ofFile(text), nil
	}
	if !strings.HasPrefix(text, "{") {
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, errors.New("metadata property jwks: want a URL, the path of an existing file, or a JSON Web Key Set (in base64 too)")
		}
		text = string(decoded)
	}
	set, err := parseSet([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("metadata property jwks: %w", err)
	}
	return &keySet{read: func(context.Context) (jwk.Set, time.Time, error) { return set, time.Time{}, nil }}, nil
}

// parseSet does not quote the text: private keys may be in it.
func parseSet(text []byte) (jwk.Set, error) {
	set, err := jwk.Parse(text)
	if err != nil || set.Len() == 0 {
		return nil, errors.New("it is no JSON Web Key Set")
	}
	return set, nil
}

func ofFile(path string) *keySet {
	var last atomic.Pointer[time.Time]
	modified := func() time.Time {
		info, err := os.Stat(path)
		if err != nil {
			return time.Time{}
		}
		return info.ModTime()
	}
	return &keySet{
		stale: func() bool { return !modified().Equal(*last.Load()) },
		read: func(context.Context) (jwk.Set, time.Time, error) {
			now := modified()
			last.Store(&now)
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, time.Time{}, err
			}
			set, err := parseSet(text)
			return set, time.Time{}, err
		},
	}
}

func overHTTP(url string, settings *jwksSettings) *keySet {
	client := &http.Client{Timeout: settings.RequestTimeout}
	return &keySet{read: func(ctx context.Context) (jwk.Set, time.Time, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, time.Time{}, errors.New("the URL is not usable")
		}
		response, err := client.Do(request)
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("get the key set: %w", err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(io.LimitReader(response.Body, maxKeySet))
		switch {
		case err != nil:
			return nil, time.Time{}, fmt.Errorf("get the key set: %w", err)
		case response.StatusCode != http.StatusOK:
			return nil, time.Time{}, fmt.Errorf("get the key set: the server answers %s", response.Status)
		}
		set, err := parseSet(text)
		return set, time.Now().Add(max(age(response.Header), settings.MinRefreshInterval)), err
	}}
}

// age is how long the answer may be used by its own word.
func age(header http.Header) time.Duration {
	for _, directive := range strings.Split(header.Get("Cache-Control"), ",") {
		if value, ok := strings.CutPrefix(strings.TrimSpace(directive), "max-age="); ok {
			seconds, _ := strconv.ParseUint(value, 10, 31)
			return time.Duration(seconds) * time.Second
		}
	}
	return 0
}

func (s *keySet) key(ctx context.Context, name string) (*key, error) {
	s.refresh(ctx)
	found, ok := s.held.Load().set.LookupKeyID(name)
	if !ok {
		return nil, errNoKey
	}
	return ofJWK(found)
}

// retry is the pause after a set could not be read anew.
const retry = time.Minute

// refresh reads the set anew if it is old. While one caller does so the others go on with the old set, which also
// stays where that fails.
func (s *keySet) refresh(ctx context.Context) {
	held := s.held.Load()
	old := !held.until.IsZero() && time.Now().After(held.until)
	if !old && (s.stale == nil || !s.stale()) || !s.refreshing.TryLock() {
		return
	}
	defer s.refreshing.Unlock()
	set, until, err := s.read(ctx)
	if err != nil {
		set, until = held.set, time.Now().Add(retry)
	}
	s.held.Store(&reading{set, until})
}
