package messaging

import (
	"encoding/base64"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/daprd/daprd/pkg/channel"
)

// extras are the two headers that channel keeps beside the others; peers read them from the metadata.
func extrasSize(contentType string, length int64) int {
	size := 0
	if contentType != "" {
		size += bytesFieldSize(entrySize(typeHeader, bytesFieldSize(len(contentType))))
	}
	if length >= 0 {
		size += bytesFieldSize(entrySize(lengthHeader, bytesFieldSize(decimalSize(length))))
	}
	return size
}

func appendExtras(dst []byte, field protowire.Number, contentType string, length int64) []byte {
	if contentType != "" {
		dst = appendEntry(dst, field, typeHeader, bytesFieldSize(len(contentType)))
		dst = protowire.AppendTag(dst, listValue, protowire.BytesType)
		dst = protowire.AppendString(dst, contentType)
	}
	if length >= 0 {
		digits := decimalSize(length)
		dst = appendEntry(dst, field, lengthHeader, bytesFieldSize(digits))
		dst = appendLength(dst, listValue, digits)
		dst = strconv.AppendInt(dst, length, 10)
	}
	return dst
}

// headerSize is the size of a grouped header as a map<string, ListStringValue>.
func headerSize(h channel.Header) int {
	size := 0
	for i := 0; i < len(h); {
		end, values := run(h, i)
		size += bytesFieldSize(entrySize(h[i].Name, values))
		i = end
	}
	return size
}

func appendHeader(dst []byte, field protowire.Number, h channel.Header) []byte {
	for i := 0; i < len(h); {
		end, values := run(h, i)
		dst = appendEntry(dst, field, h[i].Name, values)
		binary := isBinary(h[i].Name)
		for ; i < end; i++ {
			dst = appendLength(dst, listValue, valueSize(binary, h[i].Value))
			if binary {
				dst = base64.StdEncoding.AppendEncode(dst, []byte(h[i].Value))
			} else {
				dst = append(dst, h[i].Value...)
			}
		}
	}
	return dst
}

// run gives the end of the fields that have the name of h[from], and the size of their list of values.
func run(h channel.Header, from int) (end, size int) {
	binary := isBinary(h[from].Name)
	for end = from; end < len(h) && sameName(h[end].Name, h[from].Name); end++ {
		size += bytesFieldSize(valueSize(binary, h[end].Value))
	}
	return end, size
}

func valueSize(binary bool, value string) int {
	if binary {
		return base64.StdEncoding.EncodedLen(len(value))
	}
	return len(value)
}

func appendEntry(dst []byte, field protowire.Number, name string, values int) []byte {
	dst = appendLength(dst, field, entrySize(name, values))
	dst = protowire.AppendTag(dst, entryKey, protowire.BytesType)
	dst = protowire.AppendString(dst, name)
	return appendLength(dst, entryValue, values)
}

func entrySize(name string, values int) int {
	return bytesFieldSize(len(name)) + bytesFieldSize(values)
}

// payloadSize is the size of the StreamPayload field, which is left out of a message without payload.
func payloadSize(data []byte, seq uint64) int {
	if len(data) == 0 {
		return 0
	}
	return bytesFieldSize(payloadInnerSize(data, seq))
}

func payloadInnerSize(data []byte, seq uint64) int {
	size := bytesFieldSize(len(data))
	if seq != 0 {
		size += 1 + protowire.SizeVarint(seq)
	}
	return size
}

func appendPayload(dst, data []byte, seq uint64) []byte {
	if len(data) == 0 {
		return dst
	}
	dst = appendLength(dst, streamPayload, payloadInnerSize(data, seq))
	dst = appendBytes(dst, payloadData, data)
	if seq != 0 {
		dst = appendVarint(dst, payloadSequence, seq)
	}
	return dst
}

// bytesFieldSize is the size of a field of n bytes; all field numbers here take one byte.
func bytesFieldSize(n int) int { return 1 + protowire.SizeBytes(n) }

func textSize(s string) int {
	if s == "" {
		return 0
	}
	return bytesFieldSize(len(s))
}

func appendText(dst []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return dst
	}
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	return protowire.AppendString(dst, s)
}

func appendBytes(dst []byte, field protowire.Number, b []byte) []byte {
	if len(b) == 0 {
		return dst
	}
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	return protowire.AppendBytes(dst, b)
}

func appendVarint(dst []byte, field protowire.Number, v uint64) []byte {
	dst = protowire.AppendTag(dst, field, protowire.VarintType)
	return protowire.AppendVarint(dst, v)
}

func appendLength(dst []byte, field protowire.Number, n int) []byte {
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	return protowire.AppendVarint(dst, uint64(n))
}

func decimalSize(n int64) int {
	size := 1
	for ; n >= 10; n /= 10 {
		size++
	}
	return size
}

// isBinary says whether values of the header name are bytes.
func isBinary(name string) bool {
	return len(name) > len(binarySuffix) && strings.EqualFold(name[len(name)-len(binarySuffix):], binarySuffix)
}

func sameName(a, b string) bool { return len(a) == len(b) && (a == b || strings.EqualFold(a, b)) }
