package redis

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-redis/redis/v8"

	"github.com/daprd/daprd/pkg/state"
)

// The scripts. A version of 0 asks for no particular one. An error of ETAG and the version that is there is
// a refusal.
//
// A key of a foreign type is replaced by a write, as Dapr does; first-write, once set, makes every later
// write show the right version.
var (
	writeHash = redis.NewScript(`
local version = redis.pcall('HGET', KEYS[1], 'version')
if type(version) == 'table' then
  redis.call('DEL', KEYS[1])
  version = false
end
if version and version ~= '' and version ~= ARGV[1] and (ARGV[1] ~= '0' or redis.call('HGET', KEYS[1], 'first-write')) then
  return redis.error_reply('ETAG ' .. version)
end
if ARGV[3] == '0' then
  redis.call('HSET', KEYS[1], 'data', ARGV[2], 'first-write', 0)
else
  redis.call('HSET', KEYS[1], 'data', ARGV[2])
end
version = redis.call('HINCRBY', KEYS[1], 'version', 1)
if ARGV[4] ~= '' then
  if tonumber(ARGV[4]) > 0 then redis.call('EXPIRE', KEYS[1], ARGV[4]) else redis.call('PERSIST', KEYS[1]) end
end
return version`)

	removeHash = redis.NewScript(`
local version = redis.pcall('HGET', KEYS[1], 'version')
if type(version) == 'table' or not version or version == '' or version == ARGV[1] or ARGV[1] == '0' then
  return redis.call('DEL', KEYS[1])
end
return redis.error_reply('ETAG ' .. version)`)
)

// step is one script with its arguments.
type step struct {
	script    *redis.Script
	verb, key string
	arguments []any
	// etag is the tag that the caller gave, "" without one.
	etag string
}

func (s *stateStore) write(req *state.SetRequest, document bool) (step, error) {
	if err := state.CheckOptions(req.Concurrency, req.Consistency); err != nil {
		return step{}, err
	}
	version, err := version(req.ETag, req.Concurrency)
	if err != nil {
		return step{}, err
	}
	lifetime, err := s.lifetime(req.Metadata)
	if err != nil {
		return step{}, err
	}
	firstWrite := 1
	if req.Concurrency == state.FirstWrite {
		firstWrite = 0
	}
	script := writeHash
	if document {
		script = writeDocument
		// The script puts the value into a document, where anything else could stand for other fields.
		if !json.Valid(req.Value) {
			return step{}, fmt.Errorf("failed to set key %s: contentType is application/json, but the value is not JSON", req.Key)
		}
	}
	return step{script: script, verb: "set", key: req.Key, etag: text(req.ETag),
		arguments: []any{version, req.Value, firstWrite, lifetime}}, nil
}

func (s *stateStore) remove(req *state.DeleteRequest, document bool) (step, error) {
	version, err := version(req.ETag, "")
	if err != nil {
		return step{}, err
	}
	script := removeHash
	if document {
		script = removeDocument
	}
	return step{script: script, verb: "delete", key: req.Key, etag: text(req.ETag), arguments: []any{version}}, nil
}

func text(etag *string) string {
	if etag == nil {
		return ""
	}
	return *etag
}

// version is the number that a tag stands for; 0 where a write asks for none.
func version(etag *string, concurrency state.Concurrency) (int, error) {
	if etag == nil || *etag == "" || concurrency == state.LastWrite {
		return 0, nil
	}
	number, err := strconv.Atoi(*etag)
	if err != nil {
		return 0, &state.ETagError{Kind: state.ETagInvalid, Cause: err}
	}
	return number, nil
}

// lifetime is the time to live as the scripts take it: "" leaves the running one, 0 or less removes it.
func (s *stateStore) lifetime(metadata map[string]string) (string, error) {
	given := metadata["ttlInSeconds"]
	if given == "" {
		if s.ttl == nil {
			return "", nil
		}
		return strconv.Itoa(int(*s.ttl)), nil
	}
	seconds, err := strconv.ParseInt(given, 10, 32)
	if err != nil {
		return "", fmt.Errorf("failed to parse ttl from metadata: %w", err)
	}
	return strconv.FormatInt(seconds, 10), nil
}

// refusal tells a refused tag from any other failure. Without a tag a refusal is a failure of its own: the
// key was written with first-write before.
func (s *step) refusal(err error) error {
	if err == nil {
		return nil
	}
	current, refused := strings.CutPrefix(err.Error(), "ETAG ")
	switch {
	case refused && s.etag != "":
		return &state.ETagError{Kind: state.ETagMismatch,
			Cause: fmt.Errorf("failed to %s key %s: its etag is %s, not %s", s.verb, s.key, current, s.etag)}
	case refused:
		return fmt.Errorf("failed to %s key %s: it exists, with etag %s, and first-write allows only writes that send it",
			s.verb, s.key, current)
	}
	return fmt.Errorf("failed to %s key %s: %w", s.verb, s.key, err)
}
