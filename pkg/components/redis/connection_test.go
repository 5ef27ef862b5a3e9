package redis

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/state"
	"github.com/daprd/daprd/pkg/state/statetest"
)

func set(ctx context.Context, store state.Store, key, value string) error {
	return store.Set(ctx, &state.SetRequest{Key: key, Value: []byte(value)})
}

// works writes and reads a key.
func works(t *testing.T, store state.Store, key string) {
	t.Helper()
	if err := set(t.Context(), store, key, "v"); err != nil {
		t.Fatal(err)
	}
	item, err := store.Get(t.Context(), &state.GetRequest{Key: key})
	if err != nil || string(item.Value) != "v" {
		t.Fatalf("get: %v, %v", item, err)
	}
}

func TestReadmeManifest(t *testing.T) {
	server := redistest.Start(t)
	store, err := NewState(t.Context(), componentstest.FromReadme(t, "state.redis", "localhost:6379", server.Address))
	if err != nil {
		t.Fatal(err)
	}
	defer store.(*stateStore).Close()
	works(t, store, "k")
}

func TestPasswords(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "for-all",
		"--user", "store", "on", ">for-store", "~app||*", "+@all", "-@dangerous", "-command|info",
		"--user", "narrow", "on", ">for-narrow", "~app||*", "+ping", "+get", "+hmget")
	cases := map[string]struct {
		properties []string
		want       string // "" connects
	}{
		"password":          {[]string{"redisPassword", "for-all"}, ""},
		"user":              {[]string{"redisUsername", "store", "redisPassword", "for-store"}, ""},
		"none":              {nil, "(check redisUsername and redisPassword)"},
		"wrong":             {[]string{"redisPassword", "oops"}, "(check redisUsername and redisPassword)"},
		"wrong for a user":  {[]string{"redisUsername", "store", "redisPassword", "for-all"}, "WRONGPASS"},
		"user without much": {[]string{"redisUsername", "narrow", "redisPassword", "for-narrow"}, "NOPERM"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			store, err := NewState(t.Context(), spec(server.Address, c.properties...))
			if err == nil {
				defer store.(*stateStore).Close()
				err = set(t.Context(), store, "app||k", "v")
			}
			if c.want == "" && err == nil {
				works(t, store, "app||k")
				return
			}
			if c.want == "" || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			for _, secret := range []string{"for-all", "for-store", "oops"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("error %v holds a password", err)
				}
			}
		})
	}
	store := openState(t, server.Address, "redisUsername", "store", "redisPassword", "for-store")
	if err := set(t.Context(), store, "other||k", "v"); err == nil || !strings.Contains(err.Error(), "NOPERM") || !strings.Contains(err.Error(), "other||k") {
		t.Errorf("a key outside the ACL: %v", err)
	}
}

func TestTLS(t *testing.T) {
	pem := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	other, err := redistest.NewCertificates(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	anyone := redistest.StartTLS(t, certificates, "--tls-auth-clients", "no")
	known := redistest.StartTLS(t, certificates)
	strange := redistest.StartTLS(t, other, "--tls-auth-clients", "no")
	plain := redistest.Start(t)
	secure := []string{"enableTLS", "true", "redisMaxRetries", "-1"}
	secure = secure[:len(secure):len(secure)]
	// The server may close the connection before its alert about a missing certificate is read.
	cases := map[string]struct {
		address    string
		properties []string
		want       string // "" connects
	}{
		"verified":                        {anyone.Address, secure, ""},
		"client certificate":              {known.Address, append(secure, "clientCert", pem(certificates.ClientCert), "clientKey", pem(certificates.ClientKey)), ""},
		"client certificate missing":      {known.Address, secure, known.Address},
		"half of a pair":                  {known.Address, append(secure, "clientCert", pem(certificates.ClientCert)), known.Address},
		"unknown authority":               {strange.Address, secure, "(the server's certificate must be valid"},
		"unknown authority, not verified": {strange.Address, append(secure, "insecureSkipTLSVerify", "true"), ""},
		"TLS to plain":                    {plain.Address, append(secure, "dialTimeout", "200ms"), "(if the server does not speak TLS, leave enableTLS out)"},
		"plain to TLS":                    {anyone.Address, []string{"redisMaxRetries", "-1"}, anyone.Address},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			store, err := NewState(t.Context(), spec(c.address, c.properties...))
			if err == nil {
				defer store.(*stateStore).Close()
				works(t, store, "k")
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.address)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// A server that goes is named in the errors; when it is back the store works on.
func TestServerGoesAndComesBack(t *testing.T) {
	server := redistest.Start(t)
	store := openState(t, server.Address, "redisMaxRetries", "1")
	works(t, store, "k")
	server.Kill()
	_, getErr := store.Get(t.Context(), &state.GetRequest{Key: "k"})
	items, bulkErr := store.BulkGet(t.Context(), []state.GetRequest{{Key: "k"}})
	if bulkErr != nil {
		t.Fatal(bulkErr)
	}
	for name, err := range map[string]error{
		"get": getErr, "bulk get": items[0].Err, "set": set(t.Context(), store, "k", "w"),
		"delete":      store.Delete(t.Context(), &state.DeleteRequest{Key: "k"}),
		"transaction": store.Transact(t.Context(), []state.Operation{{Delete: &state.DeleteRequest{Key: "k"}}}, nil),
	} {
		if err == nil || !strings.Contains(err.Error(), server.Address) || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%s: error %v, want the address %s and the cause", name, err, server.Address)
		}
		if _, tag := state.IsETag(err); tag {
			t.Errorf("%s: %v looks like a refused tag", name, err)
		}
	}
	server.Restart(t)
	works(t, store, "k")
}

func TestNobodyListens(t *testing.T) {
	address := redistest.FreeAddress(t)
	_, err := NewState(t.Context(), spec(address, "redisMaxRetries", "-1"))
	if err == nil || !strings.HasPrefix(err.Error(), "redis store: error connecting to redis at "+address+": ") {
		t.Errorf("error %v", err)
	}
}

// A server that hangs holds nobody longer than the caller wants.
func TestServerHangs(t *testing.T) {
	server := redistest.Start(t)
	store := openState(t, server.Address, "redisMaxRetries", "-1", "readTimeout", "100ms")
	works(t, store, "k")
	server.Pause()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := set(ctx, store, "k", "w"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := set(t.Context(), store, "k", "w"); err == nil || !strings.Contains(err.Error(), server.Address) || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("readTimeout: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := NewState(ctx, spec(server.Address, "dialTimeout", "10s", "readTimeout", "10s")); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), server.Address) {
		t.Errorf("start: %v", err)
	}
}

// The server may forget scripts at any time.
func TestScriptsForgotten(t *testing.T) {
	server := redistest.Start(t)
	store, db := openState(t, server.Address), direct(t, server.Address)
	for range 2 {
		works(t, store, "k")
		if err := db.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if err := store.Delete(t.Context(), &state.DeleteRequest{Key: "k"}); err != nil {
			t.Error(err)
		}
		if err := db.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKeysOfForeignTypes(t *testing.T) {
	server := redistest.Start(t)
	store, db, ctx := openState(t, server.Address), direct(t, server.Address), t.Context()
	if err := errors.Join(db.Set(ctx, "text", "as it is", 0).Err(), db.RPush(ctx, "list", "a").Err(),
		db.HSet(ctx, "no version", "data", "x").Err(), db.HSet(ctx, "no data", "version", "1").Err()); err != nil {
		t.Fatal(err)
	}
	reqs := []state.GetRequest{{Key: "text"}, {Key: "list"}, {Key: "no version"}, {Key: "no data"}, {Key: "none"}}
	items, err := store.BulkGet(ctx, reqs)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"", "the key list is neither a hash nor a string: it was not written by a state store",
		"the hash no version has no field version: it was not written by a state store",
		"the hash no data has no field data: it was not written by a state store", ""}
	for i, item := range items {
		single, err := store.Get(ctx, &reqs[i])
		if errorText(err) != want[i] || errorText(item.Err) != want[i] {
			t.Errorf("%s: errors %v and %v, want %q", item.Key, err, item.Err, want[i])
		}
		if err == nil {
			if diff := cmp.Diff(*single, item); diff != "" {
				t.Error(diff)
			}
		}
	}
	if string(items[0].Value) != "as it is" || items[0].ETag != "" || !items[0].Found || items[4].Found {
		t.Errorf("got %+v", items)
	}
	for _, req := range reqs {
		works(t, store, req.Key)
	}
	if err := errors.Join(db.Del(ctx, "list").Err(), db.RPush(ctx, "list", "a").Err(), store.Delete(ctx, &state.DeleteRequest{Key: "list"})); err != nil {
		t.Error(err)
	}
	if n := db.Exists(ctx, "list").Val(); n != 0 {
		t.Error("the list was not deleted")
	}
}

// A write without a tag of a key that was written with first-write is no mismatch: the caller sent no tag.
func TestFirstWriteSaysWhatToDo(t *testing.T) {
	store := openState(t, redistest.Start(t).Address)
	first := &state.SetRequest{Key: "k", Value: []byte("1"), Concurrency: state.FirstWrite}
	if err := store.Set(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	want := "failed to set key k: it exists, with etag 1, and first-write allows only writes that send it"
	for _, err := range []error{store.Set(t.Context(), first), set(t.Context(), store, "k", "2"),
		store.Transact(t.Context(), []state.Operation{{Set: &state.SetRequest{Key: "k"}}}, nil)} {
		if errorText(err) != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	wrong := "5"
	err := store.Set(t.Context(), &state.SetRequest{Key: "k", ETag: &wrong})
	if want := "possible etag mismatch. error from state store: failed to set key k: its etag is 1, not 5"; errorText(err) != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if err := store.Set(t.Context(), &state.SetRequest{Key: "k", ETag: &wrong, Concurrency: state.LastWrite}); err == nil {
		t.Error("last-write overwrites a key that was written with first-write")
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestTimeToLiveOfComponent(t *testing.T) {
	server := redistest.Start(t)
	db := direct(t, server.Address)
	cases := map[string]struct {
		component, item string
		before, want    time.Duration
	}{
		"component":           {"120", "", 0, 120 * time.Second},
		"item over component": {"120", "60", 0, 60 * time.Second},
		"for ever":            {"120", "-1", 0, -1},
		"component for ever":  {"-1", "", time.Minute, -1},
		"none keeps":          {"", "", time.Minute, time.Minute},
		"plus sign":           {"", "+60", 0, time.Minute},
		"zero removes":        {"", "0", time.Minute, -1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var properties []string
			if c.component != "" {
				properties = []string{"ttlInSeconds", c.component}
			}
			store := openState(t, server.Address, properties...)
			metadata := map[string]string{}
			if c.item != "" {
				metadata["ttlInSeconds"] = c.item
			}
			if c.before > 0 {
				if err := errors.Join(set(t.Context(), store, name, "v"), db.Expire(t.Context(), name, c.before).Err()); err != nil {
					t.Fatal(err)
				}
			}
			if err := store.Set(t.Context(), &state.SetRequest{Key: name, Value: []byte("v"), Metadata: metadata}); err != nil {
				t.Fatal(err)
			}
			if got := db.TTL(t.Context(), name).Val(); got > c.want || got < c.want-5*time.Second {
				t.Errorf("TTL %v, want %v", got, c.want)
			}
		})
	}
}

func TestCluster(t *testing.T) {
	nodes := redistest.StartCluster(t)
	store := openState(t, nodes[0].Address, "redisType", "cluster")
	t.Run("conformance", func(t *testing.T) {
		// One slot for all keys, since transactions work within one only.
		statetest.Run(t, func(*testing.T) state.Store { return tagged{store} }, like)
	})
	t.Run("several slots", func(t *testing.T) {
		var reqs []state.GetRequest
		for _, key := range strings.Split("abcdefghij", "") {
			works(t, store, key)
			reqs = append(reqs, state.GetRequest{Key: key})
		}
		items, err := store.BulkGet(t.Context(), reqs)
		if err != nil {
			t.Fatal(err)
		}
		for i, item := range items {
			if item.Key != reqs[i].Key || string(item.Value) != "v" || item.Err != nil {
				t.Errorf("item %d: %+v", i, item)
			}
		}
		for _, node := range nodes {
			if n := direct(t, node.Address).DBSize(t.Context()).Val(); n == 0 {
				t.Errorf("%s holds nothing: the keys are not spread", node.Address)
			}
		}
		err = store.Transact(t.Context(), []state.Operation{
			{Set: &state.SetRequest{Key: "a", Value: []byte("w")}}, {Delete: &state.DeleteRequest{Key: "b"}}}, nil)
		if err == nil || !strings.Contains(err.Error(), "needs all keys in one hash slot, but a and b are in two") {
			t.Errorf("a transaction over two slots: %v", err)
		}
		works(t, store, "b")
	})
	t.Run("a node is gone", func(t *testing.T) {
		fragile := openState(t, nodes[0].Address+","+nodes[1].Address, "redisType", "cluster", "redisMaxRetries", "-1", "redisMaxRetryInterval", "8ms")
		nodes[2].Kill()
		items, err := fragile.BulkGet(t.Context(), []state.GetRequest{{Key: "a"}, {Key: "b"}, {Key: "c"}})
		if err != nil {
			t.Fatal(err)
		}
		lost := 0
		for _, item := range items {
			if item.Err != nil {
				lost++
				if !strings.Contains(item.Err.Error(), nodes[0].Address) {
					t.Errorf("%s: %v", item.Key, item.Err)
				}
			}
		}
		if lost == 0 || lost == len(items) {
			t.Errorf("%d of %d keys failed; want those of the dead node only", lost, len(items))
		}
	})
}

// tagged puts all keys into one hash slot.
type tagged struct{ *stateStore }

func (s tagged) Get(ctx context.Context, req *state.GetRequest) (*state.Item, error) {
	own := *req
	own.Key = "{same}" + req.Key
	item, err := s.stateStore.Get(ctx, &own)
	if item != nil {
		item.Key = req.Key
	}
	return item, err
}

func (s tagged) BulkGet(ctx context.Context, reqs []state.GetRequest) ([]state.Item, error) {
	own := make([]state.GetRequest, len(reqs))
	for i, req := range reqs {
		own[i] = state.GetRequest{Key: "{same}" + req.Key, Metadata: req.Metadata}
	}
	items, err := s.stateStore.BulkGet(ctx, own)
	for i := range items {
		items[i].Key = reqs[i].Key
	}
	return items, err
}

func (s tagged) Set(ctx context.Context, req *state.SetRequest) error {
	own := *req
	own.Key = "{same}" + req.Key
	return s.stateStore.Set(ctx, &own)
}

func (s tagged) Delete(ctx context.Context, req *state.DeleteRequest) error {
	own := *req
	own.Key = "{same}" + req.Key
	return s.stateStore.Delete(ctx, &own)
}

func (s tagged) Transact(ctx context.Context, ops []state.Operation, metadata map[string]string) error {
	own := make([]state.Operation, len(ops))
	for i, op := range ops {
		if op.Set != nil {
			set := *op.Set
			set.Key = "{same}" + set.Key
			own[i].Set = &set
		} else {
			remove := *op.Delete
			remove.Key = "{same}" + remove.Key
			own[i].Delete = &remove
		}
	}
	return s.stateStore.Transact(ctx, own, metadata)
}

// The slots are those that a real server gives.
func TestSlots(t *testing.T) {
	db := direct(t, redistest.Start(t, "--cluster-enabled", "yes", "--cluster-port", portOf(redistest.FreeAddress(t))).Address)
	for _, key := range []string{"", "a", "myapp||k", "myapp||{cart}1", "{cart}", "{}x", "a{}b{c}", "a{b", "a}b{c}d", "é中", "{{x}}", "123456789"} {
		want, err := db.ClusterKeySlot(t.Context(), key).Result()
		if got := slot(key); err != nil || int64(got) != want {
			t.Errorf("%q: slot %d, want %d (%v)", key, got, want, err)
		}
	}
}

func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// A strong write is on the replica when it returns, and says so when it is not.
func TestStrongWrites(t *testing.T) {
	master := redistest.Start(t, "--repl-diskless-sync-delay", "0")
	replica := redistest.Start(t, "--replicaof", "127.0.0.1 "+master.Port())
	db, copies := direct(t, master.Address), direct(t, replica.Address)
	redistest.Eventually(t, "the replica is in step", func() error {
		if n, err := db.Do(t.Context(), "WAIT", 1, 10).Int(); n != 1 {
			return errors.Join(errors.New("not yet"), err)
		}
		return nil
	})
	store := openState(t, master.Address)
	strong := func(key string) error {
		return store.Set(t.Context(), &state.SetRequest{Key: key, Value: []byte("v"), Consistency: state.Strong})
	}
	for _, key := range []string{"a", "b", "c", "d"} {
		if err := strong(key); err != nil {
			t.Fatal(err)
		}
		if got := copies.HGet(t.Context(), key, "data").Val(); got != "v" {
			t.Errorf("%s on the replica: %q", key, got)
		}
		if err := store.Delete(t.Context(), &state.DeleteRequest{Key: key, Consistency: state.Strong}); err != nil {
			t.Fatal(err)
		}
		if copies.Exists(t.Context(), key).Val() != 0 {
			t.Errorf("%s is still on the replica", key)
		}
	}
	wrong := "9"
	works(t, store, "tagged")
	err := store.Set(t.Context(), &state.SetRequest{Key: "tagged", ETag: &wrong, Consistency: state.Strong})
	if _, refused := state.IsETag(err); !refused {
		t.Errorf("a wrong tag in a strong write: %v", err)
	}
	replica.Pause()
	if err := strong("e"); err == nil || !strings.Contains(err.Error(), "only 0 of 1 replicas have it after 1s") {
		t.Errorf("a replica that hangs: %v", err)
	}
	works(t, store, "e")
}

// The store follows the Sentinels to a new master.
func TestSentinel(t *testing.T) {
	master := redistest.Start(t, "--repl-diskless-sync-delay", "0", "--requirepass", "data", "--masterauth", "data")
	replica := redistest.Start(t, "--replicaof", "127.0.0.1 "+master.Port(), "--requirepass", "data", "--masterauth", "data")
	sentinel := redistest.StartSentinel(t, master, "sentinel auth-pass mymaster data", "requirepass watch")
	store := openState(t, sentinel.Address, "failover", "true", "sentinelMasterName", "mymaster",
		"redisPassword", "data", "sentinelPassword", "watch", "redisMaxRetries", "1", "redisMaxRetryInterval", "50ms")
	redistest.Eventually(t, "the replica is in step", func() error {
		if n, err := store.client.Do(t.Context(), "WAIT", 1, 10).Int(); n != 1 {
			return errors.Join(errors.New("not yet"), err)
		}
		return nil
	})
	watch := goredis.NewSentinelClient(&goredis.Options{Addr: sentinel.Address, Password: "watch"})
	defer watch.Close()
	redistest.Eventually(t, "the Sentinel knows the replica", func() error {
		if known, err := watch.Slaves(t.Context(), "mymaster").Result(); len(known) != 1 {
			return errors.Join(errors.New("not yet"), err)
		}
		return nil
	})
	works(t, store, "before")
	master.Kill()
	redistest.Eventually(t, "the store writes to the new master", func() error {
		return set(t.Context(), store, "after", "v")
	})
	works(t, store, "before")
	if role := direct(t, replica.Address, "data").Do(t.Context(), "ROLE").Val().([]any)[0]; role != "master" {
		t.Errorf("the replica is %v", role)
	}
}
