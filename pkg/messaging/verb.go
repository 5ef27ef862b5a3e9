package messaging

// verbName is the verb of a number of HTTPExtension.Verb.
func verbName(number uint64) string {
	switch number {
	case 1:
		return "GET"
	case 2:
		return "HEAD"
	case 3:
		return "POST"
	case 4:
		return "PUT"
	case 5:
		return "DELETE"
	case 6:
		return "CONNECT"
	case 7:
		return "OPTIONS"
	case 8:
		return "TRACE"
	case 9:
		return "PATCH"
	}
	return noVerb
}

// noVerb is a verb that was sent as NONE, which differs from no HTTP extension at all ("").
const noVerb = "NONE"

// verbNumber is the number of a verb; one that the protocol does not know becomes POST, as Dapr does.
func verbNumber(verb string) uint64 {
	switch verb {
	case noVerb:
		return 0
	case "GET":
		return 1
	case "HEAD":
		return 2
	case "PUT":
		return 4
	case "DELETE":
		return 5
	case "CONNECT":
		return 6
	case "OPTIONS":
		return 7
	case "TRACE":
		return 8
	case "PATCH":
		return 9
	}
	return 3
}
