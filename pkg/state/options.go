package state

import "fmt"

// CheckOptions refuses rules that nobody knows, in Dapr's words. Stores call it before they write.
func CheckOptions(concurrency Concurrency, consistency Consistency) error {
	switch concurrency {
	case "", FirstWrite, LastWrite:
	default:
		return fmt.Errorf("unrecognized concurrency model '%s'", concurrency)
	}
	switch consistency {
	case "", Strong, Eventual:
	default:
		return fmt.Errorf("unrecognized consistency model '%s'", consistency)
	}
	return nil
}
