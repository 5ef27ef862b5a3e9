package config

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
	sigs "sigs.k8s.io/yaml"
)

// scalars are written after "value: ".
var scalars = []string{
	"text", "a text of words", `"quoted"`, `'single'`, `"a\tb\u0000\u2028<&>"`, `'"x"'`, `"\"x\""`, "''", "", "~", "null", "Null",
	"yes", "y", "Y", "on", "On", "no", "n", "No", "off", "OFF", "true", "TRUE", "tRue", "false", `"yes"`, "!!str yes",
	"5", "+5", "-5", "-0", "0", "0x1F", "-0x10", "0777", "0o17", "0o8", "08", "0_7", "1_000", "0b11", "0b2", "9223372036854775807",
	"9223372036854775808", "18446744073709551616", "12345678901234567890123", "1.0", "1.10", ".5", "-.5", "1.", "1e3", "1e+20", "1e21", "0.1e-5", "1e400",
	"1.2.3", "1-2", "+", "-x", ".", "...x", "-inf", "+Infinity", "0x1p4", "+.5", "-1e", "1e5x", ".5_0", "1_.5", "12:30", "1:30:00", "190:20:30.15", "2001-01-01", "2001-01-01T00:00:00Z", "10.0.0.1:6379", "5s", "=",
	"{a: 1, b: yes, c: [1.0, x, ~]}", "[1, x]", "[]", "{}", "{1: 2, true: 3, x: {y: 0x10}}", "{<<: {a: 1, b: 2}, b: 3}", "{<<: [{a: 1}, {a: 2, b: 4}], c: 3}",
	"&a {x: &b 1, y: *b}", "{d: 2001-01-01}", "!!binary aGk=", "\n  - a\n  - b: 5", "|\n  a\n  b\n", ">-\n  a\n  b\n", "!!int 3", "!!float 3",
}

// TestValues compares with the reader of YAML that Dapr uses, then with the rule for texts: a quoted JSON
// text is unquoted, any other stays.
func TestValues(t *testing.T) {
	for _, text := range scalars {
		t.Run(text, func(t *testing.T) {
			document := "value: " + text + "\n"
			want, ok := original(t, document)
			if !ok {
				t.Fatal("the case is of no use: it has no JSON form")
			}
			var p Property
			if err := yaml.Unmarshal([]byte(document), &p); err != nil {
				t.Fatal(err)
			}
			if string(p.Value) != want {
				t.Errorf("%q, want %q", p.Value, want)
			}
		})
	}
}

func original(t testing.TB, document string) (text string, ok bool) {
	t.Helper()
	converted, err := sigs.YAMLToJSON([]byte(document))
	if err != nil {
		return "", false
	}
	var p struct {
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(converted, &p); err != nil {
		return "", false
	}
	if string(p.Value) == "null" {
		return "", true
	}
	if unquoted, err := strconv.Unquote(string(p.Value)); err == nil {
		return unquoted, true
	}
	return string(p.Value), true
}

func TestUnusableValues(t *testing.T) {
	laughs := "- &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		a := strconv.Itoa(i)
		laughs += "- &a" + strconv.Itoa(i+1) + " [*a" + a + ", *a" + a + ", *a" + a + ", *a" + a + ", *a" + a + ", *a" + a + ", *a" + a + ", *a" + a + "]\n"
	}
	tests := map[string]struct{ value, want string }{
		"infinite":           {"{a: .inf}", ""}, // a text: only JSON numbers are numbers
		"key that is a list": {"{[1]: 2}", "line 1: a key must be a text, a number or a boolean"},
		"contains itself":    {"&a [*a]", "line 1: the value has more than 100000 parts or 16 MiB"},
		"billion laughs":     {"\n" + laughs, "the value has more than 100000 parts or 16 MiB"},
		"long laughs":        {"[&a " + strings.Repeat("x", 1<<20) + strings.Repeat(", *a", 20) + "]", "the value has more than 100000 parts or 16 MiB"},
		"merge of a text":    {"{<<: x}", "line 1: << takes a mapping or a list of mappings"},
		"no base64":          {"!!binary '*'", "line 1: !!binary takes base64: illegal base64 data at input byte 0"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var p Property
			err := yaml.Unmarshal([]byte("value: "+test.value+"\n"), &p)
			if test.want == "" && err != nil {
				t.Errorf("error %v", err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestUnquote(t *testing.T) {
	for text, want := range map[string]string{
		`plain`: "plain", `"quoted"`: "quoted", `"a\nb"`: "a\nb", `"half`: `"half`, `"`: `"`, ``: "", `'single'`: "'single'", "`back`": "`back`", `"a"b"`: `"a"b"`,
	} {
		if got := Unquote(text); got != want {
			t.Errorf("Unquote(%s) is %s, want %s", text, got, want)
		}
	}
}

// FuzzValue holds against Dapr's reader what both can read.
func FuzzValue(f *testing.F) {
	for _, text := range scalars {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		// Tags, line breaks and control characters are read by other rules, as YAML 1.1 and 1.2 differ there.
		if strings.ContainsAny(text, "!%\n\r\t?\u0085\u2028\u2029") || strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufeff' }) >= 0 {
			return
		}
		document := "value: " + text + "\n"
		var p Property
		if err := yaml.Unmarshal([]byte(document), &p); err != nil {
			return
		}
		want, ok := original(t, document)
		if ok && string(p.Value) != want {
			t.Errorf("%q: %q, want %q", text, p.Value, want)
		}
	})
}
