package http

// noLabel stands for a path that is none; it is that of pkg/metrics.
const noLabel = "_other"

// labelPath is the part of a path that is its label.
func labelPath(path string, segments int) string {
	if segments == 0 {
		return path
	}
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			if segments--; segments == 0 {
				return path[:i]
			}
		}
	}
	return path
}

// unknownVerb stands for every verb that HTTP does not define.
const unknownVerb = "UNKNOWN"

// labelVerb is the verb's label.
func labelVerb(verb string) string {
	switch verb {
	case "GET":
		return "GET"
	case "HEAD":
		return "HEAD"
	case "POST":
		return "POST"
	case "PUT":
		return "PUT"
	case "DELETE":
		return "DELETE"
	case "PATCH":
		return "PATCH"
	case "OPTIONS":
		return "OPTIONS"
	case "CONNECT":
		return "CONNECT"
	case "TRACE":
		return "TRACE"
	}
	return unknownVerb
}
