package memory

import (
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/daprd/daprd/pkg/state"
)

// maxTTL bounds ttlInSeconds, far below what overflows a time.
const maxTTL = 100 * 365 * 24 * time.Hour

// record is one key. Only place changes once it is in the store, under its lock.
type record struct {
	item state.Item
	// expires is in nanoseconds since 1970; 0 is never.
	expires int64
	// place is the index within the store's expiry.
	place int
}

// newRecord is what a request writes: its value copied, under a new entity tag.
func newRecord(req *state.SetRequest) (*record, error) {
	if err := state.CheckOptions(req.Concurrency, req.Consistency); err != nil {
		return nil, err
	}
	ttl, err := ttlOf(req.Metadata)
	if err != nil {
		return nil, err
	}
	written := &record{item: state.Item{Key: req.Key, Value: slices.Clone(req.Value), ETag: newETag(), Found: true}}
	if ttl > 0 {
		expires := time.Now().Add(ttl)
		written.expires = expires.UnixNano()
		written.item.Metadata = map[string]string{"ttlExpireTime": expires.UTC().Format(time.RFC3339)}
	}
	return written, nil
}

func (r *record) expired() bool {
	return r.expires != 0 && time.Now().UnixNano() >= r.expires
}

// ttlOf is 0 for a key that stays.
func ttlOf(metadata map[string]string) (time.Duration, error) {
	text := metadata["ttlInSeconds"]
	if text == "" {
		return 0, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, err
	}
	return time.Duration(min(max(seconds, 0), int64(maxTTL/time.Second))) * time.Second, nil
}

// newETag is a random UUID (version 4), which Dapr's store gives. It only has to differ from the one
// before, so a generator that cannot be predicted is not worth its price at each write.
func newETag() string {
	var id [16]byte
	for i := 0; i < len(id); i += 8 {
		word := rand.Uint64()
		for j := range 8 {
			id[i+j] = byte(word >> (8 * j))
		}
	}
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[0:8], id[0:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:36], id[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
