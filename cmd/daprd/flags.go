package main

import (
	"errors"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/daprd/daprd/pkg/process"
	"github.com/daprd/daprd/pkg/runtime"
)

// action is what the command line asks for.
type action int

const (
	actionRun action = iota
	actionHelp
	actionVersion
	actionBuildInfo
	actionWait
)

// usageError is a command line that cannot be read, or without cause one that asks for help; the usage text
// goes with it.
type usageError struct {
	cause error
	usage string
}

func (e *usageError) Error() string {
	if e.cause == nil {
		return "help requested"
	}
	return e.cause.Error()
}

func (e *usageError) Unwrap() error { return e.cause }

// parse reads the arguments without the program's name, and the environment through getenv. Notices of
// deprecated flags go to stderr. An error is a *usageError, or tells of a flag whose value is of no use: the
// Config still says then where to log it.
func parse(arguments []string, getenv func(string) string, stderr io.Writer) (runtime.Config, action, error) {
	f := newFlags()
	f.set.SetOutput(stderr)
	if err := f.set.Parse(process.DoubleDashes(f.set, arguments)); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			err = nil
		}
		return runtime.Config{}, actionHelp, &usageError{err, f.usage()}
	}
	switch {
	case f.version:
		return runtime.Config{}, actionVersion, nil
	case f.buildInfo:
		return runtime.Config{}, actionBuildInfo, nil
	case f.wait:
		return f.waiting()
	}
	cfg, err := f.config(getenv)
	return cfg, actionRun, err
}

// waiting needs nothing but the port: --wait ends well in every case, so other values are not looked at.
func (f *flags) waiting() (runtime.Config, action, error) {
	port, err := parsePort("dapr-http-port flag", f.httpPort)
	if err != nil {
		return runtime.Config{}, actionHelp, &usageError{err, f.usage()}
	}
	return runtime.Config{HTTPPort: port}, actionWait, nil
}

// flags are the values of the command line as they were written.
type flags struct {
	set    *pflag.FlagSet
	groups []group

	cfg                                                  runtime.Config
	mode, appPort, protocol, httpPort, grpcPort          string
	internalPort, publicPort, profilePort, metricsPort   string
	listenAddresses, componentsPath, maxBody, readBuffer string
	legacyBody, legacyReadBuffer, graceSeconds           int64
	block                                                time.Duration
	checkHealth                                          bool
	healthPath                                           string
	healthInterval, healthTimeout, healthThreshold       int
	skipInit                                             []string
	actorsService                                        string
	appSSL, version, buildInfo, wait, streamBody         bool
}

// group is a part of the usage text.
type group struct {
	title string
	set   *pflag.FlagSet
}

func newFlags() *flags {
	f := &flags{set: pflag.NewFlagSet("daprd", pflag.ContinueOnError)}
	f.set.Usage = func() {}
	f.add("The application", f.application)
	f.add("The application's health", f.health)
	f.add("Ports and addresses", f.addresses)
	f.add("Identity", f.identity)
	f.add("Kubernetes", f.cluster)
	f.add("Actors", f.actors)
	f.add("Resources and behaviour", f.behaviour)
	f.add("Logs, metrics, profiles", f.observation)
	f.add("Instead of running", f.instead)
	f.set.AddFlagSet(f.deprecated())
	f.set.AddFlagSet(laterFlags())
	return f
}

func (f *flags) add(title string, define func(*pflag.FlagSet)) {
	set := pflag.NewFlagSet(title, pflag.ContinueOnError)
	define(set)
	f.set.AddFlagSet(set)
	f.groups = append(f.groups, group{title, set})
}

// usage is the text of --help.
func (f *flags) usage() string {
	var b strings.Builder
	b.WriteString("daprd runs beside one application and gives it the building blocks of a distributed one:\n" +
		"service invocation, state, publish and subscribe, bindings, secrets, configuration, locks and cryptography, over HTTP and gRPC.\n\nUsage: daprd --app-id NAME [flags]\n")
	for _, g := range f.groups {
		b.WriteString("\n" + g.title + ":\n" + g.set.FlagUsagesWrapped(120))
	}
	b.WriteString("\nFlags take one dash or two. Other flags of Dapr are accepted too: those of features that this daprd\n" +
		"does not have yet are told of in the log, deprecated ones here.\n")
	return b.String()
}
