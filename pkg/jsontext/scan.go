// Package jsontext finds values in JSON texts and writes texts, instead of decoding them: what a caller stores or
// publishes stays what the caller sent. It accepts exactly what encoding/json accepts.
package jsontext

// maxDepth is encoding/json's bound on nesting.
const maxDepth = 10000

// Scanner walks over a text. After a failure it is bad and stays so, whatever is asked of it.
type Scanner struct {
	text []byte
	at   int
	bad  bool
}

// Scan begins at the start of text.
func Scan(text []byte) Scanner { return Scanner{text: text} }

// Bad says that the text has not the form that was asked for.
func (s *Scanner) Bad() bool { return s.bad }

// Fail makes the scan end.
func (s *Scanner) Fail() { s.bad = true }

// space skips white space and gives the next byte, 0 at the end.
func (s *Scanner) space() byte {
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// take consumes c, if it is next.
func (s *Scanner) take(c byte) bool {
	if s.bad || s.space() != c {
		return false
	}
	s.at++
	return true
}

// expect consumes c.
func (s *Scanner) expect(c byte) {
	if !s.take(c) {
		s.Fail()
	}
}

// End says that nothing but white space is left.
func (s *Scanner) End() bool { return !s.bad && s.space() == 0 && s.at == len(s.text) }

// Each calls item for every element of the array that is next.
func (s *Scanner) Each(item func()) {
	s.expect('[')
	if s.take(']') {
		return
	}
	for !s.bad {
		item()
		if s.take(',') {
			continue
		}
		s.expect(']')
		return
	}
}

// Members calls member with every name of the object that is next; it consumes the value. A null is an
// object without members.
func (s *Scanner) Members(member func(name []byte)) {
	if s.Null() {
		return
	}
	s.expect('{')
	if s.take('}') {
		return
	}
	for !s.bad {
		name := s.Name()
		s.expect(':')
		if s.bad {
			return
		}
		member(name)
		if s.take(',') {
			continue
		}
		s.expect('}')
		return
	}
}

// Name is a string without its quotes; escapes stay.
func (s *Scanner) Name() []byte {
	if s.bad || s.space() != '"' {
		s.Fail()
		return nil
	}
	start := s.at
	s.str()
	if s.bad {
		return nil
	}
	return s.text[start+1 : s.at-1]
}

// Null consumes a null, if it is next.
func (s *Scanner) Null() bool {
	if s.bad || s.space() != 'n' {
		return false
	}
	s.literal("null")
	return !s.bad
}

// Value consumes any value and gives its text.
func (s *Scanner) Value() []byte {
	if s.bad {
		return nil
	}
	s.space()
	start := s.at
	s.skip(0)
	if s.bad {
		return nil
	}
	return s.text[start:s.at]
}

func (s *Scanner) skip(depth int) {
	if depth > maxDepth {
		s.Fail()
		return
	}
	switch c := s.space(); {
	case s.bad:
	case c == '"':
		s.str()
	case c == '{':
		s.object(depth)
	case c == '[':
		s.array(depth)
	case c == 't':
		s.literal("true")
	case c == 'f':
		s.literal("false")
	case c == 'n':
		s.literal("null")
	default:
		s.number()
	}
}

func (s *Scanner) object(depth int) {
	s.at++
	if s.take('}') {
		return
	}
	for !s.bad {
		if s.space() != '"' {
			s.Fail()
			return
		}
		s.str()
		s.expect(':')
		s.skip(depth + 1)
		if s.take(',') {
			continue
		}
		s.expect('}')
		return
	}
}

func (s *Scanner) array(depth int) {
	s.at++
	if s.take(']') {
		return
	}
	for !s.bad {
		s.skip(depth + 1)
		if s.take(',') {
			continue
		}
		s.expect(']')
		return
	}
}

func (s *Scanner) literal(word string) {
	if len(s.text)-s.at < len(word) || string(s.text[s.at:s.at+len(word)]) != word {
		s.Fail()
		return
	}
	s.at += len(word)
}

// str consumes the string that begins at the quote.
func (s *Scanner) str() {
	text := s.text
	for i := s.at + 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			s.at = i + 1
			return
		case c < ' ':
			s.Fail()
			return
		case c == '\\':
			n := escapeLength(text[i:])
			if n == 0 {
				s.Fail()
				return
			}
			i += n - 1
		}
	}
	s.Fail()
}

// escapeLength is the length of the escape at the beginning of b, 0 for what is none.
func escapeLength(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 || !isHex(b[2]) || !isHex(b[3]) || !isHex(b[4]) || !isHex(b[5]) {
			return 0
		}
		return 6
	}
	return 0
}

func (s *Scanner) number() {
	if s.peek() == '-' {
		s.at++
	}
	if s.peek() == '0' {
		s.at++
	} else {
		s.digits()
	}
	if s.peek() == '.' {
		s.at++
		s.digits()
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		s.digits()
	}
}

func (s *Scanner) digits() {
	start := s.at
	for c := s.peek(); '0' <= c && c <= '9'; c = s.peek() {
		s.at++
	}
	if s.at == start {
		s.Fail()
	}
}

func (s *Scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }
