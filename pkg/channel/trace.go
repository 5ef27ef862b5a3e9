package channel

import (
	"encoding/hex"
	"strings"
)

// binaryParent is the form of grpc-trace-bin: version 0, then field 0 the trace id, field 1 the span id,
// field 2 the flags. ok is false for what is no trace parent of version 00.
func binaryParent(parent string) (string, bool) {
	parts := strings.Split(parent, "-")
	if len(parts) != 4 || parts[0] != "00" || len(parts[1]) != 32 || len(parts[2]) != 16 || len(parts[3]) != 2 {
		return "", false
	}
	var b [29]byte
	b[18] = 1
	b[27] = 2
	for _, field := range []struct {
		to   []byte
		from string
	}{{b[2:18], parts[1]}, {b[19:27], parts[2]}, {b[28:29], parts[3]}} {
		if _, err := hex.Decode(field.to, []byte(field.from)); err != nil {
			return "", false
		}
	}
	return string(b[:]), true
}
