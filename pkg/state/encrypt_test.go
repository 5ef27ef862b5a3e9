package state

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// recorded are values that Dapr stored, the keys that it had, and what it gave back for them. Over HTTP it
// encrypted its printed form of the decoded value (map[a:1]), which is read as it is and never written.
type recorded struct {
	Keys    map[string]string `json:"keys"`
	Records []struct {
		Daprd  string `json:"daprd"`
		Step   string `json:"step"`
		Key    string `json:"key"`
		Stored string `json:"stored"`
		Plain  string `json:"plain"`
	} `json:"records"`
}

func readRecorded(t testing.TB) recorded {
	t.Helper()
	text, err := os.ReadFile("testdata/encrypted.json")
	if err != nil {
		t.Fatal(err)
	}
	var all recorded
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Records) < 20 {
		t.Fatalf("only %d records", len(all.Records))
	}
	return all
}

// keys makes the settings of a component with these secrets as its keys.
func (r recorded) settings(t testing.TB, primary, secondary string) Settings {
	t.Helper()
	properties := map[string]string{"primaryEncryptionKey": r.Keys[primary]}
	secrets := map[string]string{"primaryEncryptionKey": primary}
	if secondary != "" {
		properties["secondaryEncryptionKey"] = r.Keys[secondary]
		secrets["secondaryEncryptionKey"] = secondary
	}
	settings, err := ParseSettings(properties, secrets)
	if err != nil {
		t.Fatal(err)
	}
	return settings
}

func TestWhatDaprEncryptedIsRead(t *testing.T) {
	all := readRecorded(t)
	for _, r := range all.Records {
		t.Run(r.Daprd+" "+r.Step+" "+r.Key, func(t *testing.T) {
			_, name, _ := strings.Cut(r.Stored, "||")
			other := "k128"
			if name == other {
				other = "k256"
			}
			for _, settings := range []Settings{all.settings(t, name, ""), all.settings(t, other, name)} {
				plain, err := settings.keys.open([]byte(r.Stored))
				if err != nil || string(plain) != r.Plain {
					t.Errorf("got %q, %v, want %q", plain, err, r.Plain)
				}
			}
		})
	}
}

func TestSealedIsDaprsForm(t *testing.T) {
	keys := readRecorded(t).settings(t, "k256", "k128").keys
	for _, plain := range []string{"", "hello", `{ "a" : 1 }`, "\x00\xff||k128"} {
		first, err := keys.seal([]byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		second, _ := keys.seal([]byte(plain))
		if string(first) == string(second) {
			t.Errorf("%q: the same ciphertext twice", plain)
		}
		// 12 bytes of nonce and 16 of tag, in base64 with padding.
		if want := (len(plain)+12+16+2)/3*4 + len("||k256"); len(first) != want || !strings.HasSuffix(string(first), "||k256") {
			t.Errorf("%q: stored as %q, want %d bytes that end with the key's name", plain, first, want)
		}
		opened, err := keys.open(first)
		if err != nil || string(opened) != plain {
			t.Errorf("%q: opened as %q, %v", plain, opened, err)
		}
	}
}

func TestUnreadableValues(t *testing.T) {
	all := readRecorded(t)
	keys := all.settings(t, "k256", "").keys
	sealed, err := keys.seal([]byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	tampered := "A" + string(sealed[1:])
	if tampered == string(sealed) {
		tampered = "B" + string(sealed[1:])
	}
	cases := []struct{ name, stored, want string }{
		{"never encrypted", `"plain"`, "was saved without encryption"},
		{"no key name", "AAAA||", "encryption key name not found on record"},
		{"another key", "AAAA||k128", `the key of secret "k128", which is not a key of this store`},
		{"no base64", "???||k256", "decrypt value"},
		{"too short", "AAAA||k256", "shorter than a nonce"},
		{"tampered", tampered, "message authentication failed"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			plain, err := keys.open([]byte(c.stored))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, %v, want an error with %s", plain, err, c.want)
			}
			if plain != nil {
				t.Errorf("got %q beside the error", plain)
			}
		})
	}
	if plain, err := keys.open(nil); err != nil || len(plain) != 0 {
		t.Errorf("empty value: %q, %v", plain, err)
	}
}

func TestParseSettings(t *testing.T) {
	const key = "11223344556677889900aabbccddeeff"
	type names = map[string]string
	cases := []struct {
		name       string
		properties names
		secrets    names
		prefix     string
		actors     bool
		encrypted  bool
		err        string
	}{
		{name: "nothing"},
		{name: "other properties", properties: names{"redisHost": "x"}},
		{name: "prefix in lower case", properties: names{"keyPrefix": "MyApp"}, prefix: "myapp"},
		{name: "names in any case", properties: names{"KEYPREFIX": "none", "ActorStateStore": "YES"}, prefix: "none", actors: true},
		{name: "prefix with separator", properties: names{"keyPrefix": "a||b"}, err: "input key/keyPrefix 'a||b' can't contain '||'"},
		{name: "actor store true", properties: names{"actorStateStore": "true"}, actors: true},
		{name: "actor store 1", properties: names{"actorStateStore": "1"}, actors: true},
		{name: "actor store false", properties: names{"actorStateStore": "false"}},
		{name: "key from a secret", properties: names{"primaryEncryptionKey": key}, secrets: names{"primaryEncryptionKey": "s"}, encrypted: true},
		{name: "key as plain value", properties: names{"primaryEncryptionKey": key}, err: "primaryEncryptionKey is a plain value"},
		{name: "key that was not resolved", properties: names{"primaryEncryptionKey": ""}, secrets: names{"primaryEncryptionKey": "s"}, err: "set auth.secretStore"},
		{name: "empty key", properties: names{"primaryEncryptionKey": ""}},
		{name: "short key", properties: names{"primaryEncryptionKey": "1122"}, secrets: names{"primaryEncryptionKey": "s"}, err: "32, 48 or 64 hexadecimal digits"},
		{name: "key that is no hex", properties: names{"primaryEncryptionKey": "zz" + key[2:]}, secrets: names{"primaryEncryptionKey": "s"}, err: "32, 48 or 64 hexadecimal digits"},
		{name: "secondary alone", properties: names{"secondaryEncryptionKey": key}, secrets: names{"secondaryEncryptionKey": "s"}, err: "without primaryEncryptionKey"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseSettings(c.properties, c.secrets)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want %s", err, c.err)
				}
				if value := c.properties["primaryEncryptionKey"]; value != "" && strings.Contains(err.Error(), value) {
					t.Errorf("the error %v holds the key", err)
				}
				return
			}
			if err != nil || got.KeyPrefix != c.prefix || got.ActorStateStore != c.actors || got.Encrypted() != c.encrypted {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}
