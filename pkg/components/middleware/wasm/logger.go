package wasm

import (
	"context"
	"strings"

	"github.com/http-wasm/http-wasm-host-go/api"
	"github.com/sirupsen/logrus"
)

// logger is where a guest's messages go, and what it prints.
type logger struct{ logrus.FieldLogger }

// IsEnabled is asked by guests before they make a message.
func (l *logger) IsEnabled(level api.LogLevel) bool {
	entry, ok := l.FieldLogger.(*logrus.Entry)
	return level != api.LogLevelNone && (!ok || entry.Logger.IsLevelEnabled(levels(level)))
}

// Log writes a guest's message.
func (l *logger) Log(_ context.Context, level api.LogLevel, message string) {
	switch levels(level) {
	case logrus.DebugLevel:
		l.Debug(message)
	case logrus.WarnLevel:
		l.Warn(message)
	case logrus.ErrorLevel:
		l.Error(message)
	default:
		l.Info(message)
	}
}

func levels(level api.LogLevel) logrus.Level {
	switch level {
	case api.LogLevelDebug:
		return logrus.DebugLevel
	case api.LogLevelWarn:
		return logrus.WarnLevel
	case api.LogLevelError:
		return logrus.ErrorLevel
	}
	return logrus.InfoLevel
}

// Write takes what a guest prints.
func (l *logger) Write(p []byte) (int, error) {
	if text := strings.TrimSpace(string(p)); text != "" {
		l.Info(text)
	}
	return len(p), nil
}
