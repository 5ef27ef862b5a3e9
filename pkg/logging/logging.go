// Package logging makes the loggers of the sidecar: one output, one format, a scope for each part. It must
// not know what is logged.
//
// Entries have the form that Dapr's log collectors read: the fields time, level and msg, then app_id,
// instance, scope, type and ver in the order of the alphabet; as text or, with JSON, one object a line.
package logging

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

// levels are the values of --log-level, the most talkative first.
var levels = []string{"debug", "info", "warn", "error", "fatal"}

// Options say where and how to log.
type Options struct {
	// Level is one of debug, info, warn, error, fatal; "" is info.
	Level string
	// JSON writes objects instead of text.
	JSON bool
	// AppID is the field app_id, left out while it is empty.
	AppID string
	// Version is the field ver; "" is printed as unknown.
	Version string
	// Output is where entries go; nil is standard output.
	Output io.Writer
}

// Logs gives the loggers. The zero value is not usable; New makes one.
type Logs struct {
	base   *logrus.Logger
	fields logrus.Fields
}

// New checks the options. The error names the flag and the values it takes.
func New(options Options) (*Logs, error) {
	if options.Level == "" {
		options.Level = "info"
	}
	if !slices.Contains(levels, strings.ToLower(options.Level)) {
		return nil, fmt.Errorf("invalid value for --log-level: %s (it takes %s)", options.Level, strings.Join(levels, ", "))
	}
	level, err := logrus.ParseLevel(options.Level)
	if err != nil {
		return nil, fmt.Errorf("invalid value for --log-level: %w", err)
	}
	if options.Output == nil {
		options.Output = os.Stdout
	}
	base := logrus.New()
	base.SetOutput(options.Output)
	base.SetLevel(level)
	base.SetFormatter(formatter(options.JSON))
	return &Logs{base: base, fields: fields(options)}, nil
}

// Scope is the logger of one part; the scope's name is the field scope.
func (l *Logs) Scope(name string) *logrus.Entry {
	return l.base.WithFields(l.fields).WithField("scope", name)
}

// Discard gives loggers that write nothing, for tests.
func Discard() *Logs {
	base := logrus.New()
	base.SetOutput(io.Discard)
	base.SetLevel(logrus.PanicLevel)
	return &Logs{base: base}
}

func fields(options Options) logrus.Fields {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	if options.Version == "" {
		options.Version = "unknown"
	}
	fields := logrus.Fields{"instance": host, "type": "log", "ver": options.Version}
	if options.AppID != "" {
		fields["app_id"] = options.AppID
	}
	return fields
}

func formatter(json bool) logrus.Formatter {
	if json {
		return &logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano}
	}
	return &logrus.TextFormatter{TimestampFormat: time.RFC3339Nano, QuoteEmptyFields: true}
}
