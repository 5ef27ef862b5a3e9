package redis

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	logrustest "github.com/sirupsen/logrus/hooks/test"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/state"
)

func TestSettingsThatCannotBeUsed(t *testing.T) {
	cases := map[string]struct {
		properties []string
		want       string // a part of the error
	}{
		"no host":               {[]string{"redisHost", ""}, "metadata property redisHost is empty"},
		"only commas":           {[]string{"redisHost", " , "}, "metadata property redisHost is empty"},
		"two ports":             {[]string{"redisHost", "h:1", "redisPort", "2"}, `metadata property redisPort: redis host "h:1" already contains port 1, but redisPort is set to 2`},
		"port":                  {[]string{"redisPort", "70000"}, `metadata property redisPort: "70000" is not usable: want a whole number from 0 to 65535`},
		"URL":                   {[]string{"redisHost", "rediss://user:hidden@h:1"}, "metadata property redisHost: want host:port, not a URL"},
		"user":                  {[]string{"redisHost", "user:hidden@h:1"}, "metadata property redisHost: want host:port, not a URL"},
		"database":              {[]string{"redisDB", "x"}, "metadata property redisDB:"},
		"no database":           {[]string{"redisDB", "-1"}, "metadata property redisDB: -1 is no number of a database"},
		"TLS":                   {[]string{"enableTLS", "maybe"}, "metadata property enableTLS:"},
		"duration":              {[]string{"readTimeout", "soon"}, "metadata property readTimeout:"},
		"time to live":          {[]string{"ttlInSeconds", "1h"}, "metadata property ttlInSeconds:"},
		"Sentinel's master":     {[]string{"failover", "true"}, "metadata property sentinelMasterName is missing"},
		"certificate":           {[]string{"enableTLS", "true", "clientCert", "x", "clientKey", "hidden"}, "metadata properties clientCert and clientKey: want"},
		"Entra ID":              {[]string{"useAzureAD", "true"}, "metadata property useEntraID is not supported"},
		"indexes":               {[]string{"queryIndexes", "x"}, "metadata property queryIndexes: want"},
		"index without a name":  {[]string{"queryIndexes", `[{"indexes":[{"key":"a","type":"TEXT"}]}]`}, "metadata property queryIndexes: an index needs a name"},
		"index without entries": {[]string{"queryIndexes", `[{"name":"n"}]`}, "metadata property queryIndexes: an index needs a name and at least one entry"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := NewState(t.Context(), spec("localhost", c.properties...))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %s", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "hidden") {
				t.Errorf("error %v holds a secret", err)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	cases := map[string]struct {
		hosts string
		port  uint16
		want  []string
	}{
		"with port":           {"h:1", 0, []string{"h:1"}},
		"without port":        {"h", 0, []string{"h:6379"}},
		"port of its own":     {"h", 7, []string{"h:7"}},
		"the same port twice": {"h:7", 7, []string{"h:7"}},
		"list":                {" a:1, b ,c:3,", 0, []string{"a:1", "b:6379", "c:3"}},
		"IPv6":                {"[::1]:1,::1,[::2]", 0, []string{"[::1]:1", "[::1]:6379", "[::2]:6379"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := (&connection{Hosts: c.hosts, Port: c.port}).addresses()
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
				t.Error(diff, err)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	manifest := spec("a:1,b:2", "REDISUSERNAME", "user", "redisPassword", "pass", "redisDB", "3", "sentinelUsername", "su",
		"sentinelPassword", "sp", "sentinelMasterName", "mm", "redisMaxRetries", "-1", "redisMinRetryInterval", "-1",
		"redisMaxRetryInterval", "700", "dialTimeout", "2s", "readTimeout", "1500", "writeTimeout", "1m", "poolSize", "7",
		"minIdleConns", "2", "poolTimeout", "4s", "maxConnAge", "5m", "idleTimeout", "-1", "idleCheckFrequency", "30s", "enableTLS", "true")
	var settings stateSettings
	if err := components.Decode(manifest, &settings); err != nil {
		t.Fatal(err)
	}
	o, err := settings.options()
	if err != nil {
		t.Fatal(err)
	}
	got := []any{o.Addrs, o.Username, o.Password, o.DB, o.SentinelUsername, o.SentinelPassword, o.MasterName, o.MaxRetries,
		o.MinRetryBackoff, o.MaxRetryBackoff, o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolSize, o.MinIdleConns,
		o.PoolTimeout, o.MaxConnAge, o.IdleTimeout, o.IdleCheckFrequency, o.TLSConfig != nil}
	want := []any{[]string{"a:1", "b:2"}, "user", "pass", 3, "su", "sp", "mm", -1,
		-time.Millisecond, 700 * time.Millisecond, 2 * time.Second, 1500 * time.Millisecond, time.Minute, 7, 2,
		4 * time.Second, 5 * time.Minute, -time.Millisecond, 30 * time.Second, true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLegacySettings(t *testing.T) {
	cases := map[string]struct {
		properties map[string]string
		retries    int
		interval   time.Duration
	}{
		"none":      {nil, 3, 2 * time.Second},
		"legacy":    {map[string]string{"maxRetries": "5", "maxRetryBackoff": "3000000"}, 5, 3 * time.Millisecond},
		"both":      {map[string]string{"maxRetries": "5", "maxRetryBackoff": "3", "redisMaxRetries": "2", "redisMinRetryInterval": "9ms"}, 2, 9 * time.Millisecond},
		"newer one": {map[string]string{"redisMaxRetries": "2", "redisMinRetryInterval": "9"}, 2, 9 * time.Millisecond},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			manifest := &components.Spec{Properties: c.properties}
			settings := stateSettings{connection: connection{MinRetryInterval: defaultRetryInterval}}
			if err := components.Decode(manifest, &settings); err != nil {
				t.Fatal(err)
			}
			settings.adopt(&settings.connection, manifest)
			if settings.MaxRetries != c.retries || settings.MinRetryInterval != c.interval {
				t.Errorf("%d retries, %v; want %+v", settings.MaxRetries, settings.MinRetryInterval, c)
			}
		})
	}
}

// Known properties are not warned of, and those of the state block neither.
func TestNoWarningOfKnownProperties(t *testing.T) {
	log, hook := logrustest.NewNullLogger()
	manifest := spec(redistest.Start(t).Address, "keyPrefix", "none", "actorStateStore", "true", "maxRetries", "3")
	manifest.Log = log
	store, err := NewState(t.Context(), manifest)
	if err != nil {
		t.Fatal(err)
	}
	defer store.(*stateStore).Close()
	for _, entry := range hook.AllEntries() {
		t.Error(entry.Message)
	}
	want := []state.Feature{"ETAG", "TRANSACTIONAL", "TTL"}
	if diff := cmp.Diff(want, store.(*stateStore).Features()); diff != "" {
		t.Error(diff)
	}
}
