package state

import (
	"encoding/json"

	"github.com/daprd/daprd/pkg/apierr"
)

// jsonType is the content type that makes some stores keep a value as a document.
const jsonType = "application/json"

// checkContent refuses a value that its own content type belies, with the bare text of the JSON error, as
// Dapr does when it saves; stores that keep documents put the value between others unseen. Only gRPC callers
// can send one. No value at all is none that could belie anything.
func checkContent(req *SetRequest) error {
	if req.Metadata["contentType"] != jsonType || len(req.Value) == 0 || json.Valid(req.Value) {
		return nil
	}
	var document json.RawMessage
	return apierr.Uncategorised.New(json.Unmarshal(req.Value, &document))
}
