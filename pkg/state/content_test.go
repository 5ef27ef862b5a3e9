package state

import (
	"testing"

	"github.com/daprd/daprd/pkg/apierr"
)

func TestContent(t *testing.T) {
	for name, test := range map[string]struct {
		contentType, value, refusal string
	}{
		"document":        {jsonType, ` {"a":1} `, ""},
		"no document":     {jsonType, `{"a":`, "unexpected end of JSON input"},
		"two documents":   {jsonType, `1,"version":9`, "invalid character ',' after top-level value"},
		"empty":           {jsonType, ``, ""},
		"text":            {"text/plain", `{"a":`, ""},
		"no content type": {"", `{"a":`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			req := SetRequest{Value: []byte(test.value)}
			if test.contentType != "" {
				req.Metadata = map[string]string{"contentType": test.contentType}
			}
			got := ""
			if err := checkContent(&req); err != nil {
				got = apierr.From(err).Message
			}
			if got != test.refusal {
				t.Errorf("refused with %q, want %q", got, test.refusal)
			}
		})
	}
}
