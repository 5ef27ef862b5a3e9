package config

import (
	"strconv"
	"strings"
)

// plain is what an unquoted scalar means by the rules of YAML 1.1, as Dapr's reader applies them: texts that
// look like times or sexagesimal numbers stay texts.
func plain(text string) any {
	switch text {
	case "", "~", "null", "Null", "NULL":
		return nil
	case "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE":
		return true
	case "n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE":
		return false
	}
	if !strings.ContainsAny(text[:1], "+-.0123456789") {
		return text
	}
	return number(text)
}

// number is the number that the text stands for, else the text itself. Underscores may stand anywhere but in
// a text that begins with a dot, where they must stand between digits.
func number(text string) any {
	if text[0] == '.' {
		return float(text, text)
	}
	digits := strings.ReplaceAll(text, "_", "")
	if n, err := strconv.ParseInt(digits, 0, 64); err == nil {
		return n
	}
	if n, err := strconv.ParseUint(digits, 0, 64); err == nil {
		return n
	}
	if strings.Trim(digits, "+-.0123456789eE") != "" { // inf, nan and hexadecimal floats are texts
		return text
	}
	return float(digits, text)
}

func float(digits, text string) any {
	if n, err := strconv.ParseFloat(digits, 64); err == nil {
		return n
	}
	return text
}
