package sentinel

import "github.com/sirupsen/logrus"

// logger brings Sentinel's messages into the sidecar's log. What Sentinel calls information is detail there.
type logger struct{ log logrus.FieldLogger }

func fields(pairs []any) logrus.Fields {
	all := logrus.Fields{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if name, ok := pairs[i].(string); ok {
			all[name] = pairs[i+1]
		}
	}
	return all
}

func (l *logger) enabled(level logrus.Level) bool {
	entry, ok := l.log.(*logrus.Entry)
	return !ok || entry.Logger.IsLevelEnabled(level)
}

// Debug and its sisters are what Sentinel asks of a logger.
func (l *logger) Debug(msg string, pairs ...any) { l.log.WithFields(fields(pairs)).Debug(msg) }

// DebugEnabled says whether Debug is heard.
func (l *logger) DebugEnabled() bool { return l.enabled(logrus.DebugLevel) }

// Info is a detail.
func (l *logger) Info(msg string, pairs ...any) { l.log.WithFields(fields(pairs)).Debug(msg) }

// InfoEnabled says whether Info is heard.
func (l *logger) InfoEnabled() bool { return l.enabled(logrus.DebugLevel) }

// Warn is a warning.
func (l *logger) Warn(msg string, pairs ...any) { l.log.WithFields(fields(pairs)).Warn(msg) }

// WarnEnabled says whether Warn is heard.
func (l *logger) WarnEnabled() bool { return l.enabled(logrus.WarnLevel) }

// Error is an error.
func (l *logger) Error(err error, msg string, pairs ...any) {
	l.log.WithFields(fields(pairs)).WithError(err).Error(msg)
}

// ErrorEnabled says whether Error is heard.
func (l *logger) ErrorEnabled() bool { return l.enabled(logrus.ErrorLevel) }
