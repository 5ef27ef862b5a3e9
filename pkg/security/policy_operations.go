package security

import (
	"bytes"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// operation is what a policy says of a path.
type operation struct {
	name  string
	allow bool
	// verbs are those that it is about; anyVerb is "*" among them.
	verbs   []string
	anyVerb bool
}

// wildcards of a segment: oneSegment stands for the last segment of a path, anySegments for one in the middle and for
// all that is left at the end; a star among other characters stands for any characters of its segment.
const (
	oneSegment  = "*"
	anySegments = "**"
)

// node is a segment of the paths of a policy's operations. Children stand in the order of the Configuration, which
// decides where more than one matches. An operation ends the search: it is about everything below it, too.
type node struct {
	segment   string
	operation *operation
	children  []*node
}

// add puts an operation into the tree; false says that there is one for the path already, which stays.
func (n *node) add(o *operation, folded bool) bool {
	for segment := range strings.SplitSeq(operationPath(o.name, folded), "/") {
		n = n.grow(segment)
	}
	if n.operation != nil {
		return false
	}
	n.operation = o
	return true
}

func (n *node) grow(segment string) *node {
	for _, child := range n.children {
		if child.segment == segment {
			return child
		}
	}
	child := &node{segment: segment}
	n.children = append(n.children, child)
	return child
}

// operationPath is the name of an operation in the form that paths are looked up in.
func operationPath(name string, folded bool) string {
	return string(appendPath(nil, path.Clean("/" + name)[1:], folded))
}

// appendPath appends a canonical path in the form that it is looked up in: without a slash at its end, in lower case if
// folded.
func appendPath(dst []byte, path string, folded bool) []byte {
	path = strings.TrimSuffix(path, "/")
	if !folded {
		return append(dst, path...)
	}
	for i := 0; i < len(path); {
		c, n := rune(path[i]), 1
		if c >= utf8.RuneSelf {
			c, n = utf8.DecodeRuneInString(path[i:])
		}
		switch {
		case c == utf8.RuneError: // also a byte that is no UTF-8: it stays as it is
			dst = append(dst, path[i:i+n]...)
		case 'A' <= c && c <= 'Z':
			dst = append(dst, byte(c)+'a'-'A')
		case c < utf8.RuneSelf:
			dst = append(dst, byte(c))
		default:
			dst = utf8.AppendRune(dst, unicode.ToLower(c))
		}
		i += n
	}
	return dst
}

var slash = []byte{'/'}

// find is the operation for a path of appendPath, nil if there is none. At each segment the first child that matches is
// final, whatever stands below it.
func (n *node) find(path []byte) *operation {
	for {
		segment, rest, more := bytes.Cut(path, slash)
		if n = n.child(segment, !more); n == nil {
			return nil
		}
		switch {
		case n.operation != nil:
			return n.operation
		case !more:
			return n.below()
		}
		path = rest
	}
}

func (n *node) child(segment []byte, last bool) *node {
	for _, c := range n.children {
		if c.segment == string(segment) || c.covers(segment, last) {
			return c
		}
	}
	return nil
}

func (n *node) covers(segment []byte, last bool) bool {
	switch n.segment {
	case oneSegment:
		return last
	case anySegments:
		return true
	}
	return strings.Contains(n.segment, "*") && glob(n.segment, segment)
}

// below is the operation of a wildcard directly below: "/a/*" is about "/a", too.
func (n *node) below() *operation {
	for _, c := range n.children {
		if c.operation != nil && (c.segment == oneSegment || c.segment == anySegments) {
			return c.operation
		}
	}
	return nil
}

// unreachable calls report for every operation below another one, which is about its path already.
func (n *node) unreachable(above *operation, report func(above, below *operation)) {
	if n.operation != nil && above != nil {
		report(above, n.operation)
	}
	if above == nil {
		above = n.operation
	}
	for _, c := range n.children {
		c.unreachable(above, report)
	}
}

// glob says whether the pattern, in which * stands for any number of characters, fits all of text.
func glob(pattern string, text []byte) bool {
	// star is where the last star stands, and from what it stands for nothing of text yet.
	star, from := -1, 0
	p, t := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, t
			p++
		case p < len(pattern) && pattern[p] == text[t]:
			p++
			t++
		case star >= 0:
			from++
			p, t = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
