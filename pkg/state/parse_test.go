package state

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseQuery(t *testing.T) {
	one := func(operator, path string, values ...any) *Comparison {
		return &Comparison{Operator: operator, Path: path, Values: values}
	}
	cases := []struct {
		name, text string
		want       *Query
	}{
		{"everything", `{}`, &Query{}},
		{"empty filter", `{"filter":{}}`, &Query{}},
		{"null filter", `{"filter":null}`, &Query{}},
		{"equal", `{"filter":{"EQ":{"person.org":"A"}}}`, &Query{Filter: one("EQ", "person.org", "A")}},
		{"number as it was sent", `{"filter":{"GTE":{"n":12345678901234567890.50}}}`,
			&Query{Filter: one("GTE", "n", json.Number("12345678901234567890.50"))}},
		{"boolean", `{"filter":{"NEQ":{"b":true}}}`, &Query{Filter: one("NEQ", "b", true)}},
		{"null", `{"filter":{"EQ":{"b":null}}}`, &Query{Filter: one("EQ", "b", nil)}},
		{"less", `{"filter":{"LT":{"n":1}}}`, &Query{Filter: one("LT", "n", json.Number("1"))}},
		{"less or equal", `{"filter":{"LTE":{"n":1}}}`, &Query{Filter: one("LTE", "n", json.Number("1"))}},
		{"greater", `{"filter":{"GT":{"n":1}}}`, &Query{Filter: one("GT", "n", json.Number("1"))}},
		{"in", `{"filter":{"IN":{"s":["a","b"]}}}`, &Query{Filter: one("IN", "s", "a", "b")}},
		{"and within or", `{"filter":{"OR":[{"EQ":{"a":"1"}},{"AND":[{"EQ":{"b":"2"}},{"EQ":{"c":"3"}}]}]}}`,
			&Query{Filter: &Combination{Operator: "OR", Filters: []Filter{one("EQ", "a", "1"),
				&Combination{Operator: "AND", Filters: []Filter{one("EQ", "b", "2"), one("EQ", "c", "3")}}}}}},
		{"sort and page", `{"sort":[{"key":"a","order":"DESC"},{"key":"b"},{"key":"c","order":"ASC"}],"page":{"limit":3,"token":"6"}}`,
			&Query{Sort: []Sort{{"a", true}, {"b", false}, {"c", false}}, Limit: 3, Token: "6"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseQuery([]byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseQueryRefuses(t *testing.T) {
	deep := strings.Repeat(`{"AND":[{"EQ":{"a":1}},`, 200) + `{"EQ":{"a":1}}` + strings.Repeat(`]}`, 200)
	cases := []struct{ name, text, want string }{
		{"no text", ``, "EOF"},
		{"no JSON", `{bad`, "invalid character 'b'"},
		{"text after the query", `{} {}`, "unexpected text after the query"},
		{"filter is a list", `{"filter":[]}`, "cannot unmarshal array"},
		{"two operators", `{"filter":{"EQ":{"a":1},"IN":{"a":[1]}}}`, "expected one operator, got 2"},
		{"unknown operator", `{"filter":{"LIKE":{"a":1}}}`, `unknown operator "LIKE"`},
		{"equal without pair", `{"filter":{"EQ":{}}}`, "expected one pair of path and value, got 0"},
		{"equal with two pairs", `{"filter":{"EQ":{"a":1,"b":2}}}`, "expected one pair of path and value, got 2"},
		{"equal with a text", `{"filter":{"EQ":"a"}}`, "expected an object with one pair"},
		{"equal with a list", `{"filter":{"EQ":{"a":[1]}}}`, "expected a string, a number, a boolean or null"},
		{"empty path", `{"filter":{"EQ":{"":1}}}`, "expected a path"},
		{"in with a text", `{"filter":{"IN":{"a":"b"}}}`, "expected a list"},
		{"in with nothing", `{"filter":{"IN":{"a":[]}}}`, "at least one value"},
		{"in with an object", `{"filter":{"IN":{"a":[{}]}}}`, "expected strings, numbers"},
		{"and with one filter", `{"filter":{"AND":[{"EQ":{"a":1}}]}}`, "at least two filters"},
		{"and with an object", `{"filter":{"AND":{}}}`, "at least two filters"},
		{"and with texts", `{"filter":{"AND":["a","b"]}}`, "expected a filter in each place"},
		{"too deep", `{"filter":` + deep + `}`, "nested deeper than 100 levels"},
		{"sort without key", `{"sort":[{"order":"ASC"}]}`, "sort[0].key"},
		{"unknown order", `{"sort":[{"key":"a","order":"UP"}]}`, `expected ASC or DESC, got "UP"`},
		{"negative limit", `{"page":{"limit":-1}}`, "page.limit"},
		{"limit that is no number", `{"page":{"limit":"3"}}`, "cannot unmarshal string"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseQuery([]byte(c.text))
			if err == nil {
				t.Fatalf("accepted as %+v", got)
			}
			if !strings.HasPrefix(err.Error(), "failed to parse JSON query body: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %s", err, c.want)
			}
		})
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"filter":{"EQ":{"a":1}}}`, `{"filter":{"IN":{"a":["b",null,true,1e9]}}}`,
		`{"filter":{"OR":[{"AND":[{"NEQ":{"a":1}},{"LT":{"b":2}}]},{"GTE":{"c":3}}]},"sort":[{"key":"a","order":"DESC"}],"page":{"limit":2,"token":"t"}}`,
		`{"filter":{"AND":[]}}`, `[`, `{"page":{"limit":9999999999999999999}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		query, err := ParseQuery(text)
		if err != nil {
			return
		}
		if query.Limit < 0 {
			t.Errorf("limit %d", query.Limit)
		}
		checkFilter(t, query.Filter, 1)
	})
}

// checkFilter holds a parsed filter against what stores rely on.
func checkFilter(t *testing.T, filter Filter, depth int) {
	t.Helper()
	if depth > maxFilterDepth {
		t.Fatal("deeper than the bound")
	}
	switch filter := filter.(type) {
	case nil:
		if depth > 1 {
			t.Error("no filter within a combination")
		}
	case *Combination:
		if len(filter.Filters) < 2 {
			t.Errorf("%s of %d", filter.Operator, len(filter.Filters))
		}
		for _, inner := range filter.Filters {
			checkFilter(t, inner, depth+1)
		}
	case *Comparison:
		if filter.Path == "" || len(filter.Values) == 0 || (filter.Operator != OperatorIn && len(filter.Values) != 1) {
			t.Errorf("comparison %+v", filter)
		}
	}
}

func FuzzOpenEncrypted(f *testing.F) {
	all := readRecorded(f)
	keys := all.settings(f, "k256", "k128").keys
	for _, r := range all.Records {
		f.Add([]byte(r.Stored))
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		plain, err := keys.open(stored)
		if err != nil && plain != nil {
			t.Errorf("%q beside the error %v", plain, err)
		}
	})
}
