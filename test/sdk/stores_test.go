package sdk

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dapr/go-sdk/client"
)

// stores is the flag of a folder with config and locks, on a server of the test.
func stores(t *testing.T, server redis) string {
	t.Helper()
	return components(t, strings.ReplaceAll(`
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: config}
spec:
  type: configuration.redis
  version: v1
  metadata: [{name: redisHost, value: "127.0.0.1:PORT"}]
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: locks}
spec:
  type: lock.redis
  version: v1
  metadata: [{name: redisHost, value: "127.0.0.1:PORT"}, {name: redisDB, value: "1"}]
`, "PORT", server.port))
}

// keyRing is the flag of a folder with keys: a symmetric one (files.key) and a private one (mail.pem).
func keyRing(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	symmetric := make([]byte, 32)
	_, _ = rand.Read(symmetric)
	write(t, filepath.Join(dir, "files.key"), string(symmetric))
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	write(t, filepath.Join(dir, "mail.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	return components(t, strings.ReplaceAll(`
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: keys}
spec:
  type: crypto.dapr.localstorage
  version: v1
  metadata: [{name: path, value: "DIR"}]
`, "DIR", dir))
}

func TestGoConfiguration(t *testing.T) {
	server := startRedis(t)
	c := dial(t, start(t, "configuration", 0, "http", stores(t, server)))
	ctx := deadline(t)
	server.do(t, "MSET", "colour", "green||v1", "size", "large", "other", "x||2")

	// text gives items as key=value@version, in order.
	text := func(items map[string]*client.ConfigurationItem) string {
		var all []string
		for _, key := range slices.Sorted(maps.Keys(items)) {
			all = append(all, fmt.Sprintf("%s=%s@%s", key, items[key].Value, items[key].Version))
		}
		return strings.Join(all, " ")
	}
	one, err := c.GetConfigurationItem(ctx, "config", "colour")
	must(t, err)
	if one == nil || one.Value != "green" || one.Version != "v1" {
		t.Errorf("one item: %+v", one)
	}
	if absent, err := c.GetConfigurationItem(ctx, "config", "absent"); err != nil || absent != nil {
		t.Errorf("an absent item: %+v, %v", absent, err)
	}
	for want, keys := range map[string][]string{
		"colour=green@v1 size=large@":           {"size", "colour", "absent"},
		"colour=green@v1 other=x@2 size=large@": nil,
	} {
		items, err := c.GetConfigurationItems(ctx, "config", keys)
		must(t, err)
		if got := text(items); got != want {
			t.Errorf("items %q: %s, want %s", keys, got, want)
		}
	}
	if _, err := c.GetConfigurationItem(ctx, "nope", "colour"); err == nil || !strings.Contains(err.Error(), "configuration store nope not found") {
		t.Errorf("unknown store: %v", err)
	}

	// subscribe gives the id of a subscription and what its handler is told, as id: items.
	subscribe := func(ctx context.Context, keys ...string) (string, <-chan string) {
		t.Helper()
		told := make(chan string, 100)
		id, err := c.SubscribeConfigurationItems(ctx, "config", keys, func(id string, items map[string]*client.ConfigurationItem) {
			told <- id + ": " + text(items)
		})
		must(t, err)
		return id, told
	}
	expect := func(id string, told <-chan string, want string) {
		t.Helper()
		if got := next(t, told); got != id+": "+want {
			t.Errorf("told %s, want %s: %s", got, id, want)
		}
	}
	id, told := subscribe(ctx, "colour", "size")
	server.do(t, "SET", "other", "y||3")
	server.do(t, "SET", "colour", "red||v2")
	expect(id, told, "colour=red@v2")
	server.do(t, "SET", "size", "small")
	expect(id, told, "size=small@")
	server.do(t, "DEL", "size")
	expect(id, told, "size=@")

	all, toldAll := subscribe(ctx)
	server.do(t, "SET", "other", "z||4")
	expect(all, toldAll, "other=z@4")

	must(t, c.UnsubscribeConfigurationItems(ctx, "config", id))
	if err := c.UnsubscribeConfigurationItems(ctx, "config", id); err == nil {
		t.Error("a subscription ended twice")
	}
	server.do(t, "SET", "colour", "blue||v3")
	expect(all, toldAll, "colour=blue@v3")
	select {
	case got := <-told:
		t.Errorf("told after the end: %s", got)
	default:
	}

	// A client that goes away ends its subscriptions.
	leaving, leave := context.WithCancel(ctx)
	id, _ = subscribe(leaving, "colour")
	leave()
	eventually(t, "the subscription has ended", func() bool { return c.UnsubscribeConfigurationItems(ctx, "config", id) != nil })
	must(t, c.UnsubscribeConfigurationItems(ctx, "config", all))
}

func TestGoLock(t *testing.T) {
	c := dial(t, start(t, "lock", 0, "http", stores(t, startRedis(t))))
	ctx := deadline(t)
	lock := func(owner string, seconds int32) bool {
		t.Helper()
		answer, err := c.TryLockAlpha1(ctx, "locks", &client.LockRequest{ResourceID: "door", LockOwner: owner, ExpiryInSeconds: seconds})
		must(t, err)
		return answer.Success
	}
	unlock := func(owner, want string) {
		t.Helper()
		answer, err := c.UnlockAlpha1(ctx, "locks", &client.UnlockRequest{ResourceID: "door", LockOwner: owner})
		must(t, err)
		if answer.Status != want {
			t.Errorf("unlock by %s: %s, want %s", owner, answer.Status, want)
		}
	}
	unlock("ada", "LOCK_DOES_NOT_EXIST")
	if !lock("ada", 60) {
		t.Error("a free lock was refused")
	}
	if lock("bob", 60) || lock("ada", 60) {
		t.Error("a lock was given twice")
	}
	unlock("bob", "LOCK_BELONGS_TO_OTHERS")
	unlock("ada", "SUCCESS")
	if !lock("bob", 1) {
		t.Error("a lock was refused after its end")
	}
	eventually(t, "the time of the lock is over", func() bool { return lock("ada", 60) })
	if _, err := c.TryLockAlpha1(ctx, "nope", &client.LockRequest{ResourceID: "door", LockOwner: "ada", ExpiryInSeconds: 1}); err == nil ||
		!strings.Contains(err.Error(), "lock store nope not found") {
		t.Errorf("unknown store: %v", err)
	}
}

func TestGoCrypto(t *testing.T) {
	c := dial(t, start(t, "crypto", 0, "http", keyRing(t)))
	ctx := deadline(t)
	plain := bytes.Repeat([]byte("some words that are not to be read by others. "), 10_000)
	encrypt := func(options client.EncryptOptions) []byte {
		t.Helper()
		options.ComponentName = "keys"
		out, err := c.Encrypt(ctx, bytes.NewReader(plain), options)
		must(t, err)
		document, err := io.ReadAll(out)
		must(t, err)
		if bytes.Contains(document, plain[:20]) {
			t.Error("the document can be read")
		}
		return document
	}
	decrypt := func(document []byte, key string) ([]byte, error) {
		t.Helper()
		out, err := c.Decrypt(ctx, bytes.NewReader(document), client.DecryptOptions{ComponentName: "keys", KeyName: key})
		must(t, err)
		return io.ReadAll(out)
	}
	for name, options := range map[string]client.EncryptOptions{
		"symmetric": {KeyName: "files.key", KeyWrapAlgorithm: "A256KW"},
		"private":   {KeyName: "mail.pem", KeyWrapAlgorithm: "RSA-OAEP-256"},
		"chacha":    {KeyName: "files.key", KeyWrapAlgorithm: "AES", DataEncryptionCipher: "chacha20-poly1305"},
	} {
		t.Run(name, func(t *testing.T) {
			document := encrypt(options)
			got, err := decrypt(document, "")
			must(t, err)
			if !bytes.Equal(got, plain) {
				t.Errorf("%d bytes that are not the %d encrypted ones", len(got), len(plain))
			}
			document[len(document)-1] ^= 1
			if _, err := decrypt(document, ""); err == nil {
				t.Error("a document that was changed was decrypted")
			}
		})
	}
	t.Run("key names", func(t *testing.T) {
		document := encrypt(client.EncryptOptions{KeyName: "files.key", KeyWrapAlgorithm: "A256KW", OmitDecryptionKeyName: true})
		if _, err := decrypt(document, ""); err == nil {
			t.Error("a document without a key's name was decrypted")
		}
		got, err := decrypt(document, "files.key")
		must(t, err)
		if !bytes.Equal(got, plain) {
			t.Error("not what was encrypted")
		}
		document = encrypt(client.EncryptOptions{KeyName: "files.key", KeyWrapAlgorithm: "A256KW", DecryptionKeyName: "elsewhere.key"})
		if _, err := decrypt(document, ""); err == nil {
			t.Error("a key that is not there decrypted")
		}
		if got, err := decrypt(document, "files.key"); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("not what was encrypted: %v", err)
		}
	})
	out, err := c.Encrypt(ctx, strings.NewReader("x"), client.EncryptOptions{ComponentName: "nope", KeyName: "files.key", KeyWrapAlgorithm: "A256KW"})
	must(t, err)
	if _, err := io.ReadAll(out); err == nil || !strings.Contains(err.Error(), "crypto provider nope not found") {
		t.Errorf("unknown provider: %v", err)
	}
}
