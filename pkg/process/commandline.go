// Package process is what the processes of the control plane have in common: how a command line is read and answered,
// how signals end them, the servers of health and metrics. It must not know what they do.
package process

import (
	"errors"
	"fmt"
	"io"
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

// The ports of all parts.
const (
	defaultHealthPort  = 8080
	defaultMetricsPort = 9090
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

// About is how a part of the control plane speaks of itself.
type About struct {
	// Name is that of the command, sentry for one.
	Name string
	// Title is what it is called when it begins, EndTitle when it ends.
	Title, EndTitle string
	// Purpose begins the usage text.
	Purpose string
}

// CommandLine is that of a part of the control plane: the flags which all parts have, beside those of its own.
type CommandLine struct {
	*pflag.FlagSet
	about About

	// ports are by the names of their flags, needless the names of flags that change nothing.
	ports    map[string]*int
	needless []string

	level           string
	asJSON, version bool
}

// NewCommandLine makes one with the flags of the log, of health and of metrics.
func NewCommandLine(about About, shown *Observed) *CommandLine {
	c := &CommandLine{FlagSet: pflag.NewFlagSet(about.Name, pflag.ContinueOnError), about: about, ports: map[string]*int{}}
	c.Usage = func() {} // Parse gives it
	c.StringVar(&shown.HealthListenAddress, "healthz-listen-address", "", "the address of /healthz; empty for all interfaces")
	c.PortVar(&shown.HealthPort, "healthz-port", defaultHealthPort, "the port of /healthz")
	c.BoolVar(&shown.EnableMetrics, "enable-metrics", true, "serve metrics for Prometheus")
	c.StringVar(&shown.MetricsListenAddress, "metrics-listen-address", "0.0.0.0", "the address of the metrics")
	c.PortVar(&shown.MetricsPort, "metrics-port", defaultMetricsPort, "the port of the metrics")
	c.StringVar(&c.level, "log-level", "info", "what is logged: debug, info, warn, error, fatal")
	c.BoolVar(&c.asJSON, "log-as-json", false, "log in JSON, one object a line")
	c.BoolVar(&c.version, "version", false, "print the version")
	return c
}

// PortVar adds the flag of a port to listen on.
func (c *CommandLine) PortVar(port *int, name string, value int, usage string) {
	c.ports[name] = port
	c.IntVar(port, name, value, usage)
}

// KubeconfigVar adds the flag that says where the API server of Kubernetes is; getenv is the environment.
func (c *CommandLine) KubeconfigVar(path *string, getenv func(string) string) {
	c.StringVar(path, "kubeconfig", getenv("KUBE_CONFIG"), "the file that tells of the API server, outside of its cluster; empty for ~/.kube/config")
}

// Needless adds flags of Dapr's that change nothing here, with a value of any kind. Who gives one is told.
func (c *CommandLine) Needless(names ...string) {
	c.needless = append(c.needless, names...)
	for _, name := range names {
		c.String(name, "", "")
		c.Lookup(name).Hidden = true
	}
}

// Parse reads arguments, with one dash or two.
func (c *CommandLine) Parse(arguments []string) *UsageError {
	err := c.FlagSet.Parse(DoubleDashes(c.FlagSet, arguments))
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return c.Misuse(nil)
	case err != nil:
		return c.Misuse(err)
	}
	for name, port := range c.ports {
		if *port < 0 || *port > math.MaxUint16 {
			return c.Misuse(fmt.Errorf("invalid value for --%s: %d is no port", name, *port))
		}
	}
	return nil
}

// Misuse is a command line that cannot be read, or without cause one that asks for help.
func (c *CommandLine) Misuse(cause error) *UsageError {
	return &UsageError{cause, fmt.Sprintf("%s\n\nUsage: %s [flags]\n\n%s", c.about.Purpose, c.about.Name, c.FlagUsagesWrapped(120))}
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
