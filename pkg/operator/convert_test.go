package operator

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

// converted asks the webhook, and gives the answer of its one kind: nil for a question that it could not read.
func converted(t *testing.T, question []byte) *conversionResponse {
	t.Helper()
	recorder := httptest.NewRecorder()
	convert(recorder, httptest.NewRequest(http.MethodPost, conversionPath, bytes.NewReader(question)))
	if recorder.Code == http.StatusBadRequest {
		if text := recorder.Body.String(); !strings.HasPrefix(text, "want a ConversionReview with a request") || strings.Contains(text, "<nil>") {
			t.Errorf("the refusal is %q", text)
		}
		return nil
	}
	var review conversionReview
	if err := exact(recorder.Body.Bytes(), &review); err != nil || recorder.Code != http.StatusOK || review.Request != nil || review.Response == nil {
		t.Fatalf("%d %q: %v", recorder.Code, recorder.Body, err)
	}
	return review.Response
}

// exact decodes with all digits of numbers.
func exact(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode(into)
}

// question is the API server's.
func question(version string, objects ...any) []byte {
	text, err := json.Marshal(map[string]any{"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
		"request": map[string]any{"uid": "1", "desiredAPIVersion": version, "objects": objects}})
	if err != nil {
		panic(err)
	}
	return text
}

// TestConversionKeepsNumbers: numbers of more digits than a float holds.
func TestConversionKeepsNumbers(t *testing.T) {
	object := json.RawMessage(`{"apiVersion":"dapr.io/v1alpha1","kind":"Subscription","metadata":{"name":"a","generation":9007199254740993},"spec":{"route":"/a"}}`)
	answer := converted(t, question(secondVersion, object))
	if got := answer.ConvertedObjects[0]["metadata"].(map[string]any)["generation"]; got != json.Number("9007199254740993") {
		t.Errorf("the generation is %v", got)
	}
}

// FuzzConversion: any bytes have an answer or a clear refusal, and an answer is one that the API server takes: as many
// objects, of the version that is wanted, with their metadata as it was.
func FuzzConversion(f *testing.F) {
	f.Add([]byte(``))
	f.Add([]byte(`{"request":{"objects":[null]}}`))
	for _, version := range []string{firstVersion, secondVersion, "dapr.io/v3", ""} {
		f.Add(question(version,
			json.RawMessage(`{"apiVersion":"dapr.io/v1alpha1","kind":"Subscription","metadata":{"name":"a","generation":1},"spec":{"route":"/a","topic":"t"}}`)))
		f.Add(question(version,
			json.RawMessage(`{"apiVersion":"dapr.io/v2alpha1","kind":"Subscription","spec":{"routes":{"default":"/a","rules":[{"match":"true","path":"/b"}]}},"scopes":["x"]}`),
			json.RawMessage(`{"apiVersion":"dapr.io/v2alpha1","kind":"Subscription","spec":7}`)))
		f.Add(question(version, json.RawMessage(`{"apiVersion":"dapr.io/v1alpha1","kind":"Component"}`)))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		answer := converted(t, text)
		if answer == nil {
			return
		}
		if answer.Result.Status != "Success" {
			if answer.Result.Message == "" || len(answer.ConvertedObjects) > 0 {
				t.Errorf("a refusal without a reason, or with objects: %+v", answer)
			}
			return
		}
		var asked conversionReview
		if err := exact(text, &asked); err != nil {
			t.Fatal(err)
		}
		if len(answer.ConvertedObjects) != len(asked.Request.Objects) || answer.UID != asked.Request.UID {
			t.Fatalf("%d of %d objects, for %q", len(answer.ConvertedObjects), len(asked.Request.Objects), answer.UID)
		}
		for i, o := range answer.ConvertedObjects {
			before := asked.Request.Objects[i]
			if o["apiVersion"] != asked.Request.DesiredAPIVersion || o["kind"] != before["kind"] || !reflect.DeepEqual(o["metadata"], before["metadata"]) {
				t.Errorf("%v became %v", before, o)
			}
		}
	})
}

// FuzzThereAndBack: a Subscription of the first version loses nothing by way of the second, in which it is stored; nor does
// one of the second by way of the first, but for its rules.
func FuzzThereAndBack(f *testing.F) {
	f.Add([]byte(`{"topic":"orders","pubsubname":"bus","route":"/orders","metadata":{"a":"b"},"deadLetterTopic":"d","bulkSubscribe":{"enabled":true,"maxMessagesCount":7}}`))
	f.Add([]byte(`{"route":null}`))
	f.Add([]byte(`{"route":{"default":1e400}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var spec map[string]any
		if exact(text, &spec) != nil {
			return
		}
		through := func(spec map[string]any, versions ...string) (back any) {
			object := any(map[string]any{"apiVersion": versions[0], "kind": "Subscription", "metadata": map[string]any{"name": "a"}, "spec": spec})
			for _, version := range versions[1:] {
				answer := converted(t, question(version, object))
				if answer == nil || answer.Result.Status != "Success" {
					t.Fatalf("%v: %+v", object, answer)
				}
				object = answer.ConvertedObjects[0]
			}
			return object.(map[string]any)["spec"]
		}
		first := maps.Clone(spec)
		delete(first, "routes") // no field of the first version
		if got := through(first, firstVersion, secondVersion, firstVersion); !reflect.DeepEqual(got, plain(first)) {
			t.Errorf("%v came back as %v", first, got)
		}
		second := maps.Clone(spec)
		if route, found := second["route"]; found { // no field of the second
			delete(second, "route")
			second["routes"] = map[string]any{"default": route}
		} else {
			delete(second, "routes")
		}
		if got := through(second, secondVersion, firstVersion, secondVersion); !reflect.DeepEqual(got, plain(second)) {
			t.Errorf("%v came back as %v", second, got)
		}
	})
}

// plain is a spec as JSON has it: none is null.
func plain(spec map[string]any) any {
	if spec == nil {
		return nil
	}
	return spec
}
