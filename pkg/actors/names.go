package actors

import (
	"errors"
	"fmt"
	"strings"

	"github.com/daprd/daprd/pkg/apierr"
)

// reserved begins the names of the types that belong to workflows.
const reserved = "dapr.internal."

// maxName bounds, in bytes, the names of types, actors, methods, reminders and timers: they stand in the keys of stores.
const maxName = 4 << 10

var errNoName = errors.New("a name cannot be empty")

// checkName refuses what cannot stand in one segment of a path (the rules and texts of Dapr 1.18).
func checkName(name string) error {
	switch {
	case name == "." || name == "..":
		return fmt.Errorf("name contains forbidden character: %q", name)
	case len(name) > maxName:
		return fmt.Errorf("a name has %d bytes, more than the %d that it may have", len(name), maxName)
	}
	for i := range len(name) {
		if c := name[i]; c < ' ' || c == 0x7f || c == '#' || c == '?' || c == '/' || c == '\\' {
			return fmt.Errorf("name contains forbidden character: %q", name)
		}
	}
	return nil
}

// checkActor refuses an actor that cannot be named, as the calls of methods tell it.
func checkActor(actorType, actorID string) error {
	for _, part := range [...]struct{ what, name string }{{"actorType", actorType}, {"actorId", actorID}} {
		if err := checkName(part.name); err != nil {
			return apierr.ActorBadCall.New(part.what, err)
		}
		if part.name == "" {
			return apierr.ActorBadCall.New(part.what, errNoName)
		}
	}
	return nil
}

// checkNames is checkActor and the name of a timer or reminder, as their calls tell it.
func checkNames(names ...string) error {
	for _, name := range names {
		if err := checkName(name); err != nil {
			return apierr.ActorBadRequest.New(err)
		}
	}
	return nil
}

// checkReserved refuses the types of workflows.
func checkReserved(actorType string) error {
	if strings.HasPrefix(actorType, reserved) {
		return apierr.ActorTypeReserved.New(actorType)
	}
	return nil
}
