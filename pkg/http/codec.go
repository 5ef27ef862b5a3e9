package http

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/daprd/daprd/pkg/jsontext"
	"github.com/daprd/daprd/pkg/state"
)

// is compares the name of a member as encoding/json does: exactly, or else without regard to case.
func is(name []byte, wanted string) bool {
	return string(name) == wanted || strings.EqualFold(string(name), wanted)
}

// setRequests decodes the body of a save: [{"key","value","etag","metadata","options"}]. Values are slices
// of the body.
func setRequests(body []byte) ([]state.SetRequest, error) {
	s := newScanner(body)
	requests := make([]state.SetRequest, 0, 1)
	if !s.Null() {
		s.Each(func() {
			if s.room(len(requests)) {
				requests = append(requests, s.setRequest())
			}
		})
	}
	if s.full {
		return nil, state.CheckItems(len(requests) + 1)
	}
	if !s.End() {
		return nil, mistake(body, new([]setRequest))
	}
	return requests, nil
}

// readTransaction decodes the body of a transaction.
func readTransaction(body []byte) (t state.Transaction, err error) {
	s := newScanner(body)
	s.Members(func(name []byte) {
		switch {
		case is(name, "operations") && !s.Null():
			s.Each(func() {
				if s.room(len(t.Operations)) {
					t.Operations = append(t.Operations, s.rawOperation())
				}
			})
		case is(name, "metadata"):
			t.Metadata = s.StringMap()
		default:
			s.Value()
		}
	})
	if s.full {
		return t, state.CheckItems(len(t.Operations) + 1)
	}
	if !s.End() {
		return t, mistake(body, new(transaction))
	}
	return t, nil
}

// scanner reads the bodies of requests.
type scanner struct {
	jsontext.Scanner
	// full: the text holds more items than a request may have.
	full bool
}

func newScanner(text []byte) scanner { return scanner{Scanner: jsontext.Scan(text)} }

// room says whether one more item may follow n; the scan ends where none may.
func (s *scanner) room(n int) bool {
	if n >= state.MaxItems {
		s.full = true
		s.Fail()
	}
	return !s.Bad()
}

func (s *scanner) rawOperation() (op state.RawOperation) {
	s.Members(func(name []byte) {
		switch {
		case is(name, "operation"):
			op.Type = s.Text()
		case is(name, "request"):
			op.Set = s.setRequest()
		default:
			s.Value()
		}
	})
	return op
}

// setRequest reads one item. A value that is missing is null, as in Dapr.
func (s *scanner) setRequest() state.SetRequest {
	r := state.SetRequest{JSON: true, Value: []byte("null")}
	s.Members(func(name []byte) {
		switch {
		case is(name, "key"):
			r.Key = s.Text()
		case is(name, "value"):
			r.Value = s.Value()
		case is(name, "etag"):
			if tag := s.Text(); tag != "" {
				r.ETag = &tag
			}
		case is(name, "metadata"):
			r.Metadata = s.StringMap()
		case is(name, "options"):
			r.Concurrency, r.Consistency = s.options()
		case is(name, "contentType"):
			r.ContentType = s.Text()
		default:
			s.Value()
		}
	})
	return r
}

func (s *scanner) options() (concurrency state.Concurrency, consistency state.Consistency) {
	s.Members(func(name []byte) {
		switch {
		case is(name, "concurrency"):
			concurrency = state.Concurrency(s.Text())
		case is(name, "consistency"):
			consistency = state.Consistency(s.Text())
		default:
			s.Value()
		}
	})
	return concurrency, consistency
}

// The forms of the bodies for encoding/json, which is asked only for its error texts.
type (
	setRequest struct {
		Key      string
		Value    json.RawMessage
		ETag     *string
		Metadata map[string]string
		Options  struct{ Concurrency, Consistency string }

		ContentType string
	}
	operation struct {
		Operation string
		Request   setRequest
	}
	transaction struct {
		Operations []operation
		Metadata   map[string]string
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
