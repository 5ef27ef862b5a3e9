package http

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/bindings"
)

func TestBindingRequest(t *testing.T) {
	tests := map[string]struct {
		body string
		want *bindings.Request
		err  string
	}{
		"everything": {`{"operation":"create","data":{"b": 1.10,"a":[]},"metadata":{"k":"\u0041"},"other":[1]}`,
			&bindings.Request{Operation: "create", Data: []byte(`{"b": 1.10,"a":[]}`), Metadata: map[string]string{"k": "A"}}, ""},
		"a string": {`{"data": "x\n" ,"Operation":"get"}`, &bindings.Request{Operation: "get", Data: []byte(`"x\n"`)}, ""},
		"no data":  {`{"metadata":null}`, &bindings.Request{Data: []byte("null")}, ""},
		"null":     {`null`, &bindings.Request{Data: []byte("null")}, ""},
		"empty":    {``, nil, "EOF"},
		"cut off":  {`{"data":`, nil, "unexpected EOF"},
		"two":      {`{} {}`, nil, "invalid character after top-level value"},
		"a list":   {`[]`, nil, "json: cannot unmarshal array into Go value of type http.OutputBindingRequest"},
		"a number": {`{"metadata":{"k":1}}`, nil, "json: cannot unmarshal number into Go struct field OutputBindingRequest.metadata of type string"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := bindingRequest([]byte(test.body))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
				t.Errorf("%v, want %q", err, test.err)
			}
		})
	}
}

// FuzzBindingRequest holds the reading of bodies against encoding/json.
func FuzzBindingRequest(f *testing.F) {
	for _, seed := range []string{`{"operation":"create","data":{"a":1},"metadata":{"k":"v"}}`, `{"data":"x"}`, `null`, `{"OPERATION":"x","operation":"y"}`,
		`{"metadata":{"a":null}}`, `{"data":1e999}`, `{"operation":"\ud800"}`, `[`, `{"a":{}}{`, "{\"operation\":\"\xff\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var form struct {
			Operation string            `json:"operation"`
			Data      json.RawMessage   `json:"data"`
			Metadata  map[string]string `json:"metadata"`
		}
		want := json.Unmarshal(body, &form)
		got, err := bindingRequest(body)
		if (want == nil) != (err == nil) {
			t.Fatalf("%q: %v, encoding/json says %v", body, err, want)
		}
		if err == nil && !json.Valid(got.Data) {
			t.Errorf("%q: the data %q are no JSON", body, got.Data)
		}
	})
}
