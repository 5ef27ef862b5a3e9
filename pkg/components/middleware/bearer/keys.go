package bearer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

const (
	// oldest is the age at which keys are read anew by the next call.
	oldest = time.Hour
	// refresh is how often at most keys are read while there are some, as in Dapr 1.18: a caller can write any key id
	// into a token.
	refresh = 10 * time.Minute
	// retry is how often at most keys are asked for while there are none.
	retry = time.Second
	// patience is how long one answer of the issuer may take.
	patience = 10 * time.Second
	// largest is the most that is read of an answer of the issuer.
	largest = 1 << 20
)

// unreachableError says that the issuer did not give its keys, for now.
type unreachableError struct{ err error }

func (e *unreachableError) Error() string { return e.err.Error() }
func (e *unreachableError) Unwrap() error { return e.err }

// keys are those of an issuer, read when they are needed.
type keys struct {
	issuer string
	client *http.Client
	now    func() time.Time

	// reading is held by who asks the issuer.
	reading sync.Mutex
	url     string // of the keys; "" until the discovery document was read

	mu      sync.Mutex
	set     jwk.Set
	read    time.Time // when set was read
	asked   time.Time // when the issuer was asked last
	failure error     // what came of that
}

func newKeys(issuer, jwksURL string) (*keys, error) {
	for name, text := range map[string]string{"issuer": issuer, "jwksURL": jwksURL} {
		u, err := url.Parse(text)
		if text != "" && (err != nil || u.Host == "" && (name == "jwksURL" || jwksURL == "")) {
			return nil, fmt.Errorf("metadata property %s is not usable: want a URL like https://issuer.example.com", name)
		}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true // it is asked once an hour
	return &keys{issuer: issuer, url: jwksURL, client: &http.Client{Transport: transport, Timeout: patience}, now: time.Now}, nil
}

// current gives the keys, read now if there are none or they are old.
func (k *keys) current(ctx context.Context) (jwk.Set, error) {
	k.mu.Lock()
	set, age, since, failure := k.set, k.now().Sub(k.read), k.now().Sub(k.asked), k.failure
	k.mu.Unlock()
	switch {
	case set != nil && (age < oldest || since < refresh):
		return set, nil
	case set != nil:
		if renewed, err := k.ask(ctx, set); err == nil {
			return renewed, nil
		}
		return set, nil // known keys do not become wrong because the issuer is away
	case failure != nil && since < retry:
		return nil, failure
	}
	return k.ask(ctx, nil)
}

// renewed gives keys newer than old, if they may be asked for already; else old.
func (k *keys) renewed(ctx context.Context, old jwk.Set) jwk.Set {
	k.mu.Lock()
	set, since := k.set, k.now().Sub(k.asked)
	k.mu.Unlock()
	if set != old || since < refresh {
		return set
	}
	if renewed, err := k.ask(ctx, old); err == nil {
		return renewed
	}
	return old
}

// ask reads the keys from the issuer, one caller at a time: who comes meanwhile takes what the other got.
func (k *keys) ask(ctx context.Context, old jwk.Set) (jwk.Set, error) {
	k.reading.Lock()
	defer k.reading.Unlock()
	k.mu.Lock()
	set, failure, since := k.set, k.failure, k.now().Sub(k.asked)
	k.mu.Unlock()
	switch {
	case set != old:
		return set, nil
	case failure != nil && since < retry:
		return nil, failure
	}
	// The caller may go; others wait for the same keys.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	set, err := k.fetch(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked, k.failure = k.now(), err
	if err != nil {
		return nil, err
	}
	k.set, k.read = set, k.asked
	return set, nil
}

func (k *keys) fetch(ctx context.Context) (jwk.Set, error) {
	if k.url == "" {
		found, err := k.discover(ctx)
		if err != nil {
			return nil, err
		}
		k.url = found
	}
	text, err := k.get(ctx, k.url)
	if err != nil {
		return nil, err
	}
	all, err := jwk.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the keys at %s are no JSON Web Key Set: %w", k.url, err)
	}
	return public(all)
}

// public are the keys that only the issuer can sign with: a symmetric key that everybody can read proves nothing.
func public(all jwk.Set) (jwk.Set, error) {
	set := jwk.NewSet()
	for i := range all.Len() {
		if key, ok := all.Key(i); ok && key.KeyType() != jwa.OctetSeq() {
			if err := set.AddKey(key); err != nil {
				return nil, err
			}
		}
	}
	return set, nil
}

// discover reads the issuer's discovery document (OpenID Connect Discovery 1.0, 4).
func (k *keys) discover(ctx context.Context) (string, error) {
	address := strings.TrimSuffix(k.issuer, "/") + "/.well-known/openid-configuration"
	text, err := k.get(ctx, address)
	if err != nil {
		return "", err
	}
	var document struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return "", fmt.Errorf("%s is no discovery document: %w", address, err)
	}
	switch {
	case document.Issuer != k.issuer:
		return "", fmt.Errorf("metadata property issuer: the issuer of %s calls itself %q: write it exactly so", address, document.Issuer)
	case document.JWKSURI == "":
		return "", fmt.Errorf("%s names no jwks_uri: the metadata property jwksURL can tell where the keys are", address)
	}
	return document.JWKSURI, nil
}

func (k *keys) get(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := k.client.Do(request)
	if err != nil {
		return nil, &unreachableError{err}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, largest+1))
	switch {
	case err != nil:
		return nil, &unreachableError{fmt.Errorf("read %s: %w", address, err)}
	case response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests:
		return nil, &unreachableError{fmt.Errorf("%s answers %s", address, response.Status)}
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answers %s: check the metadata properties issuer and jwksURL", address, response.Status)
	case len(text) > largest:
		return nil, fmt.Errorf("%s has more than %d bytes", address, largest)
	}
	return text, nil
}
