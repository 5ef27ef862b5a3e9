package reminders

import (
	"bytes"
	"errors"
	"strconv"
)

// page is one page of the index: entries, or the name of the branch into which they were divided.
type page struct {
	Branch  string
	Entries []pageEntry
}

// pageEntry is one reminder in a page.
type pageEntry struct {
	ActorID, Name string
	// Serial names the record, and is this registration's alone.
	Serial uint64
	// Due is when it was due first, in milliseconds since 1970, rounded up. It is not written again: a reminder is never due
	// earlier.
	Due int64
}

// find is the place of a name among the entries, -1 for none.
func (p *page) find(actorID, name string) int {
	for i := range p.Entries {
		if e := &p.Entries[i]; e.Name == name && e.ActorID == actorID {
			return i
		}
	}
	return -1
}

// full says that the entries should be divided.
func (p *page) full(bytes int) bool {
	return len(p.Entries) > maxEntries || bytes > maxPageBytes && len(p.Entries) > 1
}

// Pages are written and read with every reminder that comes or goes, so they have a form that costs a tenth of JSON: a
// line "branch <name>", or a line for each entry: serial, due time, the lengths of both names, and the names as they are.
//
//	89abcdef01234567 1764345600000 7 8 actor-1reminder

const branchWord = "branch "

// encode writes the page.
func (p *page) encode() []byte {
	if p.Branch != "" {
		return []byte(branchWord + p.Branch)
	}
	size := 0
	for i := range p.Entries {
		size += len(p.Entries[i].ActorID) + len(p.Entries[i].Name) + 48
	}
	text := make([]byte, 0, size)
	for i := range p.Entries {
		e := &p.Entries[i]
		text = append(text, name(e.Serial)...)
		text = strconv.AppendInt(append(text, ' '), e.Due, 10)
		text = strconv.AppendInt(append(text, ' '), int64(len(e.ActorID)), 10)
		text = strconv.AppendInt(append(text, ' '), int64(len(e.Name)), 10)
		text = append(append(append(append(text, ' '), e.ActorID...), e.Name...), '\n')
	}
	return text
}

var errPage = errors.New("it is no page of reminders")

// decode reads a page into p.
func (p *page) decode(text []byte) error {
	*p = page{}
	if branch, ok := bytes.CutPrefix(text, []byte(branchWord)); ok {
		p.Branch = string(branch)
		if len(branch) != serialDigits {
			return errPage
		}
		return nil
	}
	p.Entries = make([]pageEntry, 0, bytes.Count(text, []byte("\n"))+1)
	for len(text) > 0 {
		var fields [4]uint64
		for i := range fields {
			field, rest, ok := bytes.Cut(text, []byte(" "))
			if fields[i], text = number(field, i == 0), rest; !ok || fields[i] == noNumber {
				return errPage
			}
		}
		serial, due, actor, named := fields[0], fields[1], fields[2], fields[3]
		if actor > maxName || named > maxName || uint64(len(text)) <= actor+named || text[actor+named] != '\n' {
			return errPage
		}
		p.Entries = append(p.Entries, pageEntry{string(text[:actor]), string(text[actor : actor+named]), serial, int64(due)})
		text = text[actor+named+1:]
	}
	return nil
}

// noNumber is what no number is: serials and due times are below it.
const noNumber = 1<<64 - 1

// number reads decimal digits, or the 16 hexadecimal ones of a serial.
func number(digits []byte, isSerial bool) (n uint64) {
	base, most := uint64(10), 18
	if isSerial {
		base, most = 16, serialDigits
	}
	if len(digits) == 0 || len(digits) > most {
		return noNumber
	}
	for _, c := range digits {
		digit := uint64(noNumber)
		switch {
		case '0' <= c && c <= '9':
			digit = uint64(c - '0')
		case 'a' <= c && c <= 'f':
			digit = uint64(c-'a') + 10
		}
		if digit >= base {
			return noNumber
		}
		n = n*base + digit
	}
	return n
}
