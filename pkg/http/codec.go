package http

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/daprd/daprd/pkg/state"
)

// is compares the name of a member as encoding/json does: exactly, or else without regard to case.
func is(name []byte, wanted string) bool {
	return string(name) == wanted || strings.EqualFold(string(name), wanted)
}

// setRequests decodes the body of a save: [{"key","value","etag","metadata","options"}]. Values are slices
// of the body.
func setRequests(body []byte) ([]state.SetRequest, error) {
	s := scanner{text: body}
	requests := make([]state.SetRequest, 0, 1)
	if !s.null() {
		s.each(func() {
			if s.room(len(requests)) {
				requests = append(requests, s.setRequest())
			}
		})
	}
	if s.full {
		return nil, state.CheckItems(len(requests) + 1)
	}
	if !s.end() {
		return nil, mistake(body, new([]setRequest))
	}
	return requests, nil
}

// rawOperations decodes the body of a transaction.
func rawOperations(body []byte) (operations []state.RawOperation, metadata map[string]string, err error) {
	s := scanner{text: body}
	s.members(func(name []byte) {
		switch {
		case is(name, "operations") && !s.null():
			s.each(func() {
				if s.room(len(operations)) {
					operations = append(operations, s.rawOperation())
				}
			})
		case is(name, "metadata"):
			metadata = s.stringMap()
		default:
			s.value()
		}
	})
	if s.full {
		return nil, nil, state.CheckItems(len(operations) + 1)
	}
	if !s.end() {
		return nil, nil, mistake(body, new(transaction))
	}
	return operations, metadata, nil
}

// room says whether one more item may follow n; the scan ends where none may.
func (s *scanner) room(n int) bool {
	if n >= state.MaxItems {
		s.full = true
		s.fail()
	}
	return !s.bad
}

func (s *scanner) rawOperation() (op state.RawOperation) {
	s.members(func(name []byte) {
		switch {
		case is(name, "operation"):
			op.Type = s.string()
		case is(name, "request"):
			op.Set = s.setRequest()
		default:
			s.value()
		}
	})
	return op
}

// setRequest reads one item. A value that is missing is null, as in Dapr.
func (s *scanner) setRequest() state.SetRequest {
	r := state.SetRequest{JSON: true, Value: []byte("null")}
	s.members(func(name []byte) {
		switch {
		case is(name, "key"):
			r.Key = s.string()
		case is(name, "value"):
			r.Value = s.value()
		case is(name, "etag"):
			if tag := s.string(); tag != "" {
				r.ETag = &tag
			}
		case is(name, "metadata"):
			r.Metadata = s.stringMap()
		case is(name, "options"):
			r.Concurrency, r.Consistency = s.options()
		default:
			s.value()
		}
	})
	return r
}

func (s *scanner) options() (concurrency state.Concurrency, consistency state.Consistency) {
	s.members(func(name []byte) {
		switch {
		case is(name, "concurrency"):
			concurrency = state.Concurrency(s.string())
		case is(name, "consistency"):
			consistency = state.Consistency(s.string())
		default:
			s.value()
		}
	})
	return concurrency, consistency
}

// string decodes the string that is next; null is "".
func (s *scanner) string() string {
	if s.null() {
		return ""
	}
	raw := s.name()
	if s.bad {
		return ""
	}
	return decoded(raw)
}

// decoded is the text of a string whose quotes are cut off.
func decoded(raw []byte) string {
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

// stringMap decodes an object whose values are strings.
func (s *scanner) stringMap() map[string]string {
	var m map[string]string
	s.members(func(name []byte) {
		if m == nil {
			m = make(map[string]string)
		}
		m[decoded(name)] = s.string()
	})
	return m
}

// The forms of the bodies for encoding/json, which is asked only for its error texts.
type (
	setRequest struct {
		Key      string
		Value    json.RawMessage
		ETag     *string
		Metadata map[string]string
		Options  struct{ Concurrency, Consistency string }
	}
	transaction struct {
		Operations []struct {
			Operation string
			Request   setRequest
		}
		Metadata map[string]string
	}
)

// mistake tells what is wrong with body in the words of encoding/json, which are Dapr's.
func mistake(body []byte, form any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	err := decoder.Decode(form)
	if err == nil {
		return errTrailing
	}
	// Dapr's name of the form, which its texts show.
	return errors.New(strings.ReplaceAll(err.Error(), "http.setRequest", "state.SetRequest"))
}

// appendString writes a JSON string.
func appendString(dst []byte, text string) []byte {
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

// appendValue writes a stored value into a JSON text: as it is when it is JSON, else as a string, since a
// gRPC caller may have stored any bytes.
func appendValue(dst, value []byte) []byte {
	s := scanner{text: value}
	if s.value(); s.end() {
		return append(dst, value...)
	}
	return appendString(dst, string(value))
}

// appendMap writes an object of strings with its names in order.
func appendMap(dst []byte, m map[string]string) []byte {
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
		dst = appendString(dst, name)
		dst = append(dst, ':')
		dst = appendString(dst, m[name])
	}
	return append(dst, '}')
}
