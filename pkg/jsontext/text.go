package jsontext

import (
	"bytes"
	"encoding/json"
	"slices"
	"unicode/utf8"
)

// Text decodes the string that is next; null is "".
func (s *Scanner) Text() string {
	if s.Null() {
		return ""
	}
	raw := s.Name()
	if s.bad {
		return ""
	}
	return Decoded(raw)
}

// Decoded is the text of a string whose quotes are cut off.
func Decoded(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		return string(raw)
	}
	quoted := append(append([]byte{'"'}, raw...), '"')
	var text string
	if json.Unmarshal(quoted, &text) != nil {
		return string(raw)
	}
	return text
}

// StringMap decodes an object whose values are strings.
func (s *Scanner) StringMap() map[string]string {
	var m map[string]string
	s.Members(func(name []byte) {
		if m == nil {
			m = make(map[string]string)
		}
		m[Decoded(name)] = s.Text()
	})
	return m
}

// AppendString writes a JSON string.
func AppendString(dst []byte, text string) []byte {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c >= utf8.RuneSelf {
			quoted, err := json.Marshal(text)
			if err != nil {
				return append(dst, `""`...)
			}
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, text...)
	return append(dst, '"')
}

// AppendValue writes a stored value into a JSON text: as it is when it is JSON, else as a string, since a
// gRPC caller may have stored any bytes.
func AppendValue(dst, value []byte) []byte {
	s := Scan(value)
	if s.Value(); s.End() {
		return append(dst, value...)
	}
	return AppendString(dst, string(value))
}

// AppendMap writes an object of strings with its names in order.
func AppendMap(dst []byte, m map[string]string) []byte {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	dst = append(dst, '{')
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, name)
		dst = append(dst, ':')
		dst = AppendString(dst, m[name])
	}
	return append(dst, '}')
}
