package http

// A scanner for JSON that finds values instead of decoding them, so that what a caller stores stays what the
// caller sent. It accepts exactly what encoding/json accepts.

// maxDepth is encoding/json's bound on nesting.
const maxDepth = 10000

// scanner walks over a text. After a failure ok is false and stays so.
type scanner struct {
	text []byte
	at   int
	bad  bool
	// full: the text holds more items than a request may have.
	full bool
}

func (s *scanner) fail() { s.bad = true }

// space skips white space and gives the next byte, 0 at the end.
func (s *scanner) space() byte {
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
func (s *scanner) take(c byte) bool {
	if s.bad || s.space() != c {
		return false
	}
	s.at++
	return true
}

// expect consumes c.
func (s *scanner) expect(c byte) {
	if !s.take(c) {
		s.fail()
	}
}

// end says that nothing but white space is left.
func (s *scanner) end() bool { return !s.bad && s.space() == 0 && s.at == len(s.text) }

// each calls item for every element of the array that is next.
func (s *scanner) each(item func()) {
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

// members calls member with every name of the object that is next; it consumes the value. A null is an
// object without members.
func (s *scanner) members(member func(name []byte)) {
	if s.null() {
		return
	}
	s.expect('{')
	if s.take('}') {
		return
	}
	for !s.bad {
		name := s.name()
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

// name is a string without its quotes; escapes stay.
func (s *scanner) name() []byte {
	if s.bad || s.space() != '"' {
		s.fail()
		return nil
	}
	start := s.at
	s.str()
	if s.bad {
		return nil
	}
	return s.text[start+1 : s.at-1]
}

// null consumes a null, if it is next.
func (s *scanner) null() bool {
	if s.bad || s.space() != 'n' {
		return false
	}
	s.literal("null")
	return !s.bad
}

// value consumes any value and gives its text.
func (s *scanner) value() []byte {
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

func (s *scanner) skip(depth int) {
	if depth > maxDepth {
		s.fail()
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

func (s *scanner) object(depth int) {
	s.at++
	if s.take('}') {
		return
	}
	for !s.bad {
		if s.space() != '"' {
			s.fail()
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

func (s *scanner) array(depth int) {
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

func (s *scanner) literal(word string) {
	if len(s.text)-s.at < len(word) || string(s.text[s.at:s.at+len(word)]) != word {
		s.fail()
		return
	}
	s.at += len(word)
}

// str consumes the string that begins at the quote.
func (s *scanner) str() {
	text := s.text
	for i := s.at + 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			s.at = i + 1
			return
		case c < ' ':
			s.fail()
			return
		case c == '\\':
			n := escapeLength(text[i:])
			if n == 0 {
				s.fail()
				return
			}
			i += n - 1
		}
	}
	s.fail()
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

func (s *scanner) number() {
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

func (s *scanner) digits() {
	start := s.at
	for c := s.peek(); '0' <= c && c <= '9'; c = s.peek() {
		s.at++
	}
	if s.at == start {
		s.fail()
	}
}

func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}
