package redis

import (
	"fmt"
	"strings"

	"github.com/go-redis/redis/v8"
)

// slots is the number of hash slots of a Redis cluster.
const slots = 16384

// slot is where a cluster keeps a key: the CRC16 (XMODEM) of the part in the first braces, or of the whole
// key, as the cluster specification says.
func slot(key string) uint16 {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			key = tag
		}
	}
	var crc uint16
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc % slots
}

// sameSlot refuses a transaction over several slots of a cluster, which the client would silently send as
// several transactions.
func (s *stateStore) sameSlot(steps []step) error {
	if _, clustered := s.client.UniversalClient.(*redis.ClusterClient); !clustered {
		return nil
	}
	for i := range steps[1:] {
		if first, other := steps[0].key, steps[i+1].key; slot(first) != slot(other) {
			return fmt.Errorf("a transaction in a Redis cluster needs all keys in one hash slot, but %s and %s are in two: "+
				"give the keys a common part in braces, as in {cart}total and {cart}items", first, other)
		}
	}
	return nil
}
