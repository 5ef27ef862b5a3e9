package configuration

import (
	"strings"
	"unicode/utf8"
)

// textual gives items as the APIs can bring them: as UTF-8, which stores need not hold to. What is none in values is
// replaced by U+FFFD; a key that is none is left out, since nobody could ask for it by another name. The map that is
// given stays as it is.
func textual(items map[string]Item) map[string]Item {
	valid := true
	for key, item := range items {
		valid = valid && utf8.ValidString(key) && item.valid()
	}
	if valid {
		return items
	}
	texts := make(map[string]Item, len(items))
	for key, item := range items {
		if !utf8.ValidString(key) {
			continue
		}
		text := Item{Value: repaired(item.Value), Version: repaired(item.Version)}
		if item.Metadata != nil {
			text.Metadata = make(map[string]string, len(item.Metadata))
		}
		for name, value := range item.Metadata {
			text.Metadata[repaired(name)] = repaired(value)
		}
		texts[key] = text
	}
	return texts
}

func (i Item) valid() bool {
	for name, value := range i.Metadata {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return false
		}
	}
	return utf8.ValidString(i.Value) && utf8.ValidString(i.Version)
}

func repaired(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }
