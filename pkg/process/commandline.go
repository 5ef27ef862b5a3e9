// Package process is what the processes of the control plane have in common: how a command line is read and answered,
// how signals end them, the servers of health and metrics. It must not know what they do.
package process

import (
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"strings"

	"github.com/spf13/pflag"
)

// The exit codes: Failure is for a process that could not start or go on, Usage for a command line that cannot be read.
const (
	OK = iota
	Failure
	Usage
)

// UsageError is a command line that cannot be read, or without cause one that asks for help; the usage text goes with it.
type UsageError struct {
	Cause error
	Usage string
}

func (e *UsageError) Error() string { return fmt.Sprint(e.Cause) }
func (e *UsageError) Unwrap() error { return e.Cause }

// Print answers the command line, and gives the exit code.
func (e *UsageError) Print(stdout, stderr io.Writer) int {
	if e.Cause == nil {
		fmt.Fprint(stdout, e.Usage)
		return OK
	}
	fmt.Fprint(stderr, e.Usage)
	fmt.Fprintln(stderr, e.Cause)
	return Usage
}

// NewFlagSet makes one that prints nothing by itself.
func NewFlagSet(name string) *pflag.FlagSet {
	set := pflag.NewFlagSet(name, pflag.ContinueOnError)
	set.Usage = func() {}
	return set
}

// Parse reads arguments, with one dash or two; about says in the usage text what the process is.
func Parse(set *pflag.FlagSet, about string, arguments []string) *UsageError {
	err := set.Parse(DoubleDashes(set, arguments))
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return Misuse(set, about, nil)
	case err != nil:
		return Misuse(set, about, err)
	}
	return nil
}

// Misuse is a command line that cannot be read.
func Misuse(set *pflag.FlagSet, about string, cause error) *UsageError {
	return &UsageError{cause, fmt.Sprintf("%s\n\nUsage: %s [flags]\n\n%s", about, set.Name(), set.FlagUsagesWrapped(120))}
}

// CheckPort says whether the value of a flag is a port.
func CheckPort(flag string, port int) error {
	if port < 0 || port > math.MaxUint16 {
		return fmt.Errorf("invalid value for --%s: %d is no port", flag, port)
	}
	return nil
}

// DoubleDashes makes --app-id of -app-id: Dapr's charts, CLI and injector use both forms. Values of flags stay as
// they are, -1 for one.
func DoubleDashes(set *pflag.FlagSet, arguments []string) []string {
	doubled := make([]string, 0, len(arguments))
	isValue := false
	for i, a := range arguments {
		switch {
		case isValue:
			isValue = false
			doubled = append(doubled, a)
			continue
		case a == "--":
			return append(doubled, arguments[i:]...)
		case len(a) > 2 && a[0] == '-' && a[1] != '-':
			a = "-" + a
		}
		doubled = append(doubled, a)
		isValue = wantsValue(set, a)
	}
	return doubled
}

// wantsValue says whether the next argument belongs to this one.
func wantsValue(set *pflag.FlagSet, argument string) bool {
	name, long := strings.CutPrefix(argument, "--")
	if !long || strings.Contains(name, "=") {
		return false
	}
	flag := set.Lookup(name)
	return flag != nil && flag.NoOptDefVal == ""
}

func discard() *log.Logger { return log.New(io.Discard, "", 0) }
