package sentry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"

	"github.com/daprd/daprd/pkg/config"
)

const (
	// maxKeySet bounds a key set, in bytes.
	maxKeySet = 1 << 20
	// The defaults of Dapr 1.18. An interval of a second and less counts as none.
	defaultRefresh, leastRefresh = 10 * time.Minute, time.Second
	defaultKeysTimeout           = 30 * time.Second
)

// keySet holds the keys that tokens may be signed with. It is read anew when it has grown old; while that fails, the
// old one stays.
type keySet struct {
	read func(ctx context.Context) (jwk.Set, error)
	// refresh is how long a set need not be read again.
	refresh time.Duration
	now     func() time.Time

	held atomic.Pointer[reading]
	// renewing is held by who reads.
	renewing sync.Mutex
}

// reading is a set, and when it is to be read again.
type reading struct {
	set  jwk.Set
	next time.Time
}

// newKeySet takes the options source (a URL, the path of a file, or the set itself, in base64 too), caCertificate,
// minRefreshInterval and requestTimeout.
func newKeySet(options config.FreeForm, now func() time.Time) (*keySet, error) {
	texts, err := config.Properties(options)
	if err != nil {
		return nil, err
	}
	timing := map[string]time.Duration{"minRefreshInterval": defaultRefresh, "requestTimeout": defaultKeysTimeout}
	for name := range timing {
		if texts[name] == "" {
			continue
		}
		if timing[name], err = time.ParseDuration(texts[name]); err != nil {
			return nil, fmt.Errorf("option %s: %w", name, err)
		}
	}
	k := &keySet{now: now, refresh: timing["minRefreshInterval"]}
	if k.refresh <= leastRefresh {
		k.refresh = defaultRefresh
	}
	source := strings.TrimSpace(texts["source"])
	switch {
	case source == "":
		return nil, errors.New("option source: it is required: a URL, the path of a file, or a JSON Web Key Set")
	case strings.HasPrefix(source, "http://"), strings.HasPrefix(source, "https://"):
		client, err := newKeysClient(texts["caCertificate"], timing["requestTimeout"])
		if err != nil {
			return nil, err
		}
		k.read = func(ctx context.Context) (jwk.Set, error) { return download(ctx, client, source) }
		return k, nil
	case isFile(source):
		k.read, k.refresh = func(context.Context) (jwk.Set, error) { return readKeys(source) }, 0
	default:
		set, err := inline(source)
		if err != nil {
			return nil, err
		}
		k.read = func(context.Context) (jwk.Set, error) { return set, nil }
	}
	_, err = k.current(context.Background())
	return k, err
}

// current is the set, read anew if that is due. While one caller reads, the others go on with the old one.
func (k *keySet) current(ctx context.Context) (jwk.Set, error) {
	held := k.held.Load()
	switch {
	case held == nil:
		k.renewing.Lock()
	case k.now().Before(held.next), !k.renewing.TryLock():
		return held.set, nil
	}
	defer k.renewing.Unlock()
	if by := k.held.Load(); by != held {
		return by.set, nil // somebody else has read it meanwhile
	}
	// The caller may go; others want the same keys.
	set, err := k.read(context.WithoutCancel(ctx))
	if err != nil {
		if held == nil {
			return nil, err
		}
		set = held.set
	}
	k.held.Store(&reading{set, k.now().Add(k.refresh)})
	return set, nil
}

func newKeysClient(ca string, timeout time.Duration) (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true // it is asked every few minutes
	if ca != "" {
		text := []byte(ca)
		if !strings.Contains(ca, "-----BEGIN") {
			var err error
			if text, err = os.ReadFile(ca); err != nil {
				return nil, fmt.Errorf("option caCertificate: want PEM or the path of a file: %w", err)
			}
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return nil, errors.New("option caCertificate: there is no certificate in PEM")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport, Timeout: timeout}, nil
}

func download(ctx context.Context, client *http.Client, url string) (jwk.Set, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("get the key set: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxKeySet))
	if err != nil {
		return nil, fmt.Errorf("get the key set: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get the key set: the server answers %s", response.Status)
	}
	return parseKeys(text)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func readKeys(path string) (jwk.Set, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseKeys(text)
}

func inline(text string) (jwk.Set, error) {
	if !strings.HasPrefix(text, "{") {
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, errors.New("option source: want a URL, the path of an existing file, or a JSON Web Key Set (in base64 too)")
		}
		text = string(decoded)
	}
	return parseKeys([]byte(text))
}

// parseKeys keeps the keys that only their owner can sign with: a symmetric key that others can read proves nothing.
func parseKeys(text []byte) (jwk.Set, error) {
	all, err := jwk.Parse(text)
	if err != nil {
		return nil, errors.New("option source: it is no JSON Web Key Set")
	}
	set := jwk.NewSet()
	for i := range all.Len() {
		if key, ok := all.Key(i); ok && key.KeyType() != jwa.OctetSeq() {
			if err := set.AddKey(key); err != nil {
				return nil, fmt.Errorf("option source: %w", err)
			}
		}
	}
	if set.Len() == 0 {
		return nil, errors.New("option source: there is no public key in the JSON Web Key Set")
	}
	return set, nil
}
