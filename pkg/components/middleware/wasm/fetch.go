package wasm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// largest is the most that a guest's code may have: 64 MiB.
const largest = 64 << 20

var errSize = errors.New("the guest is larger than 64 MiB")

// fetch reads a guest from where its URL says.
func fetch(ctx context.Context, address string) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("it is no URL: want file://, http:// or https://")
	}
	switch u.Scheme {
	case "file":
		// A relative path begins where a host stands in a URL: file://guests/a.wasm.
		return readFile(strings.TrimPrefix(address, "file://"))
	case "http", "https":
		return download(ctx, u)
	}
	return nil, fmt.Errorf("the scheme %q is not known: want file://, http:// or https://", u.Scheme)
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return bounds(file)
}

func download(ctx context.Context, u *url.URL) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true // it is asked once
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, err // it shows the URL without its password
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", u.Redacted(), response.Status)
	}
	return bounds(response.Body)
}

func bounds(from io.Reader) ([]byte, error) {
	code, err := io.ReadAll(io.LimitReader(from, largest+1))
	if err == nil && len(code) > largest {
		err = errSize
	}
	return code, err
}
