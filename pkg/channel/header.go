package channel

import (
	"slices"
	"strings"
)

// Value is the first value of the header name, "" if there is none.
func (h Header) Value(name string) string {
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			return h[i].Value
		}
	}
	return ""
}

// Has says whether the header name is there.
func (h Header) Has(name string) bool {
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			return true
		}
	}
	return false
}

// With is the list with one header more at its end.
func (h Header) With(name, value string) Header { return append(h, Field{Name: name, Value: value}) }

// Without is the list without the header name, in place.
func (h Header) Without(name string) Header {
	kept := h[:0]
	for _, f := range h {
		if !strings.EqualFold(f.Name, name) {
			kept = append(kept, f)
		}
	}
	return kept
}

// HeaderOf gives the headers of an answer, in net/http's form, that go on to the caller.
func HeaderOf(header map[string][]string) Header { return sorted(header, dropped) }

// sorted is the list of the headers that leaveOut lets pass, in the order of their names.
func sorted(header map[string][]string, leaveOut func(name string) bool) Header {
	if len(header) == 0 {
		return nil
	}
	names := make([]string, 0, len(header))
	for name := range header {
		if !leaveOut(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	fields := make(Header, 0, len(names))
	for _, name := range names {
		for _, value := range header[name] {
			fields = append(fields, Field{Name: name, Value: value})
		}
	}
	return fields
}
