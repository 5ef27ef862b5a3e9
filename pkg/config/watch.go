package config

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// The time without a change after which a burst of them is over: an editor writes, renames and removes, a ConfigMap
// swaps links. Whoever writes without a pause is not waited for longer than the second.
const (
	quietFor  = 200 * time.Millisecond
	quietMost = 2 * time.Second
)

// Watcher tells when something in folders changes. It looks at folders, never at single files: a file that is replaced
// by another one is a change of its folder.
type Watcher struct {
	files   *fsnotify.Watcher
	folders []string
}

// Watch begins to watch the folders, and those of the files. An error tells what is not watched; the Watcher, unless
// nil, watches the rest.
func Watch(folders, files []string) (*Watcher, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch the resources: %w; see fs.inotify.max_user_instances where there are too many", err)
	}
	w := &Watcher{files: notify, folders: folders}
	for _, file := range files {
		w.folders = append(w.folders[:len(w.folders):len(w.folders)], filepath.Dir(file))
	}
	return w, w.add()
}

// add watches folders; those that are watched already stay so. One that was removed and made again is a new one.
func (w *Watcher) add() error {
	var errs []error
	for _, folder := range w.folders {
		if err := w.files.Add(folder); err != nil {
			errs = append(errs, fmt.Errorf("watch %s: %w", folder, err))
		}
	}
	return errors.Join(errs...)
}

// Close ends the watching.
func (w *Watcher) Close() error {
	if w == nil {
		return nil
	}
	return w.files.Close()
}

// Next returns true when something has changed and then nothing for a moment; false when the interval is over without
// a change, or ctx has ended. It is for one goroutine at a time. A nil Watcher sees no change.
func (w *Watcher) Next(ctx context.Context, interval time.Duration) bool {
	tick := time.NewTimer(interval)
	defer tick.Stop()
	var events chan fsnotify.Event
	var errs chan error
	if w != nil {
		events, errs = w.files.Events, w.files.Errors
	}
	select {
	case <-ctx.Done():
		return false
	case <-tick.C:
		if w != nil {
			// Folders may have come back; what cannot be watched is looked at again anyway.
			_ = w.add()
		}
		return false
	case <-events:
	case <-errs: // events were lost
	}
	most := time.NewTimer(quietMost)
	defer most.Stop()
	quiet := time.NewTimer(quietFor)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-events:
			quiet.Reset(quietFor)
		case <-errs:
		case <-quiet.C:
			return true
		case <-most.C:
			return true
		}
	}
}
