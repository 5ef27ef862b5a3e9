package redis

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-redis/redis/v8"

	"github.com/daprd/daprd/pkg/state"
)

// The scripts for JSON documents {"data", "version", "first-write"}; the rules are those of hashes. The path
// "." is the whole document, in the form that every version of the module gives without a list around it.
//
// Only a key of another type is replaced: any other failure of JSON.GET must not cost a value.
var (
	writeDocument = redis.NewScript(readDocument + `
if version and version ~= ARGV[1] and (guarded or ARGV[1] ~= '0') then
  return redis.error_reply('ETAG ' .. version)
end
local new = string.format('%d', (tonumber(version or '0') or 0) + 1)
local mark = (ARGV[3] == '0' or guarded) and ',"first-write":0' or ''
redis.call('JSON.SET', KEYS[1], '.', '{"data":' .. ARGV[2] .. ',"version":' .. new .. mark .. '}')
if ARGV[4] ~= '' then
  if tonumber(ARGV[4]) > 0 then redis.call('EXPIRE', KEYS[1], ARGV[4]) else redis.call('PERSIST', KEYS[1]) end
end
return tonumber(new)`)

	removeDocument = redis.NewScript(readDocument + `
if not version or version == ARGV[1] or ARGV[1] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.error_reply('ETAG ' .. version)`)
)

// readDocument finds the version, and whether the document was written with first-write.
const readDocument = `
local raw = redis.pcall('JSON.GET', KEYS[1], '.')
if type(raw) == 'table' then
  if not string.find(string.upper(raw.err), 'WRONG', 1, true) then return raw end
  redis.call('DEL', KEYS[1])
  raw = false
end
local version, guarded
if raw then
  local document = cjson.decode(raw)
  if type(document) == 'table' and document['version'] then
    version, guarded = string.format('%d', document['version']), document['first-write']
  end
end`

// asDocument says whether a request means the JSON form. Without the module the hash serves.
func (s *stateStore) asDocument(metadata map[string]string) bool {
	return s.json && metadata["contentType"] == "application/json"
}

// documentItem makes an Item of the answer to JSON.GET.
func (s *stateStore) documentItem(key string, answer *redis.Cmd) (*state.Item, error) {
	text, err := answer.Text()
	if errors.Is(err, redis.Nil) {
		return &state.Item{Key: key}, nil
	}
	if err != nil {
		return nil, s.client.failed(err)
	}
	var document struct {
		Data    json.RawMessage `json:"data"`
		Version json.Number     `json:"version"`
	}
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		return nil, fmt.Errorf("the JSON document %s was not written by a state store: %w", key, err)
	}
	if document.Data == nil || document.Version == "" {
		return nil, fmt.Errorf("the JSON document %s has no data or no version: it was not written by a state store", key)
	}
	return &state.Item{Key: key, Value: document.Data, ETag: document.Version.String(), Found: true}, nil
}
