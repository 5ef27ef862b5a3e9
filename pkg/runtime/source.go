package runtime

import (
	"context"
	"errors"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/config"
)

// errAway is a source that cannot be asked now: what watches it has told, or is at its end.
var errAway = errors.New("the source is away")

// source is where resources and the Configuration come from.
type source interface {
	// configuration gives the one that --config names, over the defaults. It and resources may fail with errAway once
	// changes are watched.
	configuration(ctx context.Context) (*config.Configuration, error)
	resources(ctx context.Context) (*config.Resources, error)
	// watch begins to look for changes; an interval is the longest that one goes unseen.
	watch(ctx context.Context, log logrus.FieldLogger, interval time.Duration) watching
	close() error
}

// watching is a look-out for changes.
type watching struct {
	// next is that of config.Watcher.
	next func(ctx context.Context, interval time.Duration) bool
	// stop comes after the end of the context.
	stop func() error
}

// folders are those of standalone mode, and files with a Configuration each.
type folders struct{ paths, files []string }

func (f folders) configuration(context.Context) (*config.Configuration, error) {
	return config.ReadConfiguration(f.files...)
}

func (f folders) resources(context.Context) (*config.Resources, error) {
	return config.ReadFolders(f.paths...)
}

func (f folders) watch(_ context.Context, log logrus.FieldLogger, interval time.Duration) watching {
	watcher, err := config.Watch(f.paths, f.files)
	if err != nil {
		log.Warnf("%s; changes there are seen within %s", err, interval)
	}
	return watching{watcher.Next, watcher.Close}
}

func (folders) close() error { return nil }

// startResources are those that the sidecar starts with, read once.
type startResources struct {
	done  bool
	found *config.Resources
	err   error
}

// resources are those that the sidecar starts with. Only the stages ask, one after the other.
func (r *Runtime) resources(ctx context.Context) (*config.Resources, error) {
	if !r.read.done {
		r.read.found, r.read.err = r.source.resources(ctx)
		r.read.done = true
	}
	return r.read.found, r.read.err
}
