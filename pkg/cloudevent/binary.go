package cloudevent

import (
	"encoding/base64"
	"strings"

	"github.com/daprd/daprd/pkg/jsontext"
)

// attributePrefix begins the metadata of a broker that carry the attributes of an event in binary mode.
const attributePrefix = "ce_"

// IsBinaryMode says whether a message of the content type carries its attributes in its metadata.
func IsBinaryMode(contentType string, metadata map[string]string) bool {
	if !isType(contentType, binaryType) {
		return false
	}
	for name := range metadata {
		if len(name) > len(attributePrefix) && strings.EqualFold(name[:len(attributePrefix)], attributePrefix) {
			return true
		}
	}
	return false
}

// Assemble makes an event of a message in binary mode.
func Assemble(data []byte, metadata map[string]string) Event {
	var e Event
	for name, value := range metadata {
		if len(name) > len(attributePrefix) && strings.EqualFold(name[:len(attributePrefix)], attributePrefix) {
			e.Set(strings.ToLower(name[len(attributePrefix):]), value)
		}
	}
	switch contentType := e.Text("datacontenttype"); {
	case IsJSON(contentType):
		e.Members = append(e.Members, Member{"data", jsontext.AppendValue(nil, data)})
	case isText(contentType):
		e.Set("data", string(data))
	default:
		e.SetDefault("datacontenttype", binaryType)
		e.Set("data_base64", base64.StdEncoding.EncodeToString(data))
	}
	e.SetDefault("specversion", SpecVersion)
	e.SetDefault("type", DefaultType)
	e.SetDefault("source", DefaultSource)
	return e
}
