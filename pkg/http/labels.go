package http

import (
	"strings"
	"sync"
	"sync/atomic"
)

// maxLabels bounds the paths that metrics may show; the next ones show the template of their route. It is
// that of pkg/metrics.
const maxLabels = 1000

// maxLabelSize bounds, in bytes, a path that is a label: every scrape shows each of them some forty times.
// Longer ones show the template of their route.
const maxLabelSize = 256

// noLabel stands for a path that is none; it is that of pkg/metrics.
const noLabel = "_other"

// labels keeps the label of every path that was seen, so that a request allocates none.
type labels struct {
	mu    sync.Mutex
	known atomic.Pointer[map[string]string]
}

func newLabels() *labels {
	l := &labels{}
	l.known.Store(&map[string]string{})
	return l
}

// label is a lasting copy of path, or template when there are too many already.
func (l *labels) label(path, template string) string {
	if len(path) > maxLabelSize {
		return template
	}
	if label, ok := (*l.known.Load())[path]; ok {
		return label
	}
	return l.add(path, template)
}

func (l *labels) add(path, template string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := *l.known.Load()
	if label, ok := known[path]; ok {
		return label
	}
	if len(known) >= maxLabels {
		return template
	}
	grown := make(map[string]string, len(known)+1)
	for k, v := range known {
		grown[k] = v
	}
	seen := strings.Clone(path)
	// Callers send any bytes, and labels are text.
	label := strings.ToValidUTF8(seen, "\uFFFD")
	grown[seen] = label
	l.known.Store(&grown)
	return label
}

// labelPath is the part of a path that is its label.
func labelPath(path string, segments int) string {
	if segments == 0 {
		return path
	}
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			if segments--; segments == 0 {
				return path[:i]
			}
		}
	}
	return path
}

// unknownVerb stands for every verb that HTTP does not define.
const unknownVerb = "UNKNOWN"

// labelVerb is the verb's label.
func labelVerb(verb string) string {
	switch verb {
	case "GET":
		return "GET"
	case "HEAD":
		return "HEAD"
	case "POST":
		return "POST"
	case "PUT":
		return "PUT"
	case "DELETE":
		return "DELETE"
	case "PATCH":
		return "PATCH"
	case "OPTIONS":
		return "OPTIONS"
	case "CONNECT":
		return "CONNECT"
	case "TRACE":
		return "TRACE"
	}
	return unknownVerb
}
