package tracing

import "encoding/hex"

// binarySize is the length of the binary form: version 0, then field 0 the trace id, field 1 the span id and
// field 2 the flags, each after its number.
const binarySize = 29

// Binary gives a trace parent in the form of BinaryHeader. ok is false for what is no parent of version 00.
func Binary(parent string) (binary string, ok bool) {
	if len(parent) != len(ZeroParent) || parent[:3] != "00-" || parent[35] != '-' || parent[52] != '-' {
		return "", false
	}
	b := make([]byte, 2, binarySize)
	for i, part := range [...]string{parent[3:35], parent[36:52], parent[53:]} {
		if i > 0 {
			b = append(b, byte(i))
		}
		var err error
		if b, err = hex.AppendDecode(b, []byte(part)); err != nil {
			return "", false
		}
	}
	return string(b), true
}

// Parent gives the text form of what came in BinaryHeader. ok is false for what is none.
func Parent(binary string) (parent string, ok bool) {
	if len(binary) != binarySize || binary[:2] != "\x00\x00" || binary[18] != 1 || binary[27] != 2 {
		return "", false
	}
	b := append(make([]byte, 0, len(ZeroParent)), "00-"...)
	b = append(hex.AppendEncode(b, []byte(binary[2:18])), '-')
	b = append(hex.AppendEncode(b, []byte(binary[19:27])), '-')
	return string(hex.AppendEncode(b, []byte(binary[28:]))), true
}
