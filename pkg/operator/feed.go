package operator

import (
	"cmp"
	"slices"
	"sync"

	"k8s.io/client-go/tools/cache"

	operatorv1 "github.com/daprd/daprd/pkg/proto/operator/v1"
)

// mostWaiting is how many events may wait for one follower. A sidecar that lets more of them wait does not read: it is cut
// off, and lists the resources when it is back.
const mostWaiting = 4096

// feed is what the operator knows of a kind, and who is told of its changes.
type feed struct {
	kind     *kind
	informer cache.SharedIndexInformer

	mu sync.Mutex
	// followers are by namespace.
	followers map[string]map[*follower]struct{}
}

// event is a change as one follower sees it.
type event struct {
	resource *resource
	change   operatorv1.ResourceEventType
}

// follower is an open stream.
type follower struct {
	appID string
	// name is that of the only resource that it is told of, nil for all.
	name *string

	// wake holds a word when there are events, or no more will come.
	wake chan struct{}
	// cut ends the connection of a sidecar that does not read.
	cut func()

	mu      sync.Mutex
	waiting []event
	isCut   bool
}

func newFeed(k *kind) *feed { return &feed{kind: k, followers: map[string]map[*follower]struct{}{}} }

// list are the resources that an application may use, by name.
func (f *feed) list(namespace, appID string) ([]*resource, error) {
	found, err := f.informer.GetIndexer().ByIndex(cache.NamespaceIndex, namespace)
	if err != nil {
		return nil, err
	}
	resources := make([]*resource, 0, len(found))
	for _, item := range found {
		if r := item.(*resource); r.isFor(appID) {
			resources = append(resources, r)
		}
	}
	slices.SortFunc(resources, func(a, b *resource) int { return cmp.Compare(a.Name, b.Name) })
	return resources, nil
}

// get is nil for one that is not there.
func (f *feed) get(namespace, name string) *resource {
	found, exists, err := f.informer.GetIndexer().GetByKey(namespace + "/" + name)
	if err != nil || !exists {
		return nil
	}
	return found.(*resource)
}

// follow has a follower told of what changes from now on, until leave is called.
func (f *feed) follow(namespace string, who *follower) (leave func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.followers[namespace] == nil {
		f.followers[namespace] = map[*follower]struct{}{}
	}
	f.followers[namespace][who] = struct{}{}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.followers[namespace], who)
		if len(f.followers[namespace]) == 0 {
			delete(f.followers, namespace)
		}
	}
}

// handler is the informer's: it tells the followers, and waits for none of them.
func (f *feed) handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(added any) { f.tell(nil, stored(added)) },
		UpdateFunc: func(before, after any) { f.tell(stored(before), stored(after)) },
		DeleteFunc: func(deleted any) { f.tell(stored(deleted), nil) },
	}
}

// stored is the resource that the informer hands over.
func stored(given any) *resource {
	if missed, ok := given.(cache.DeletedFinalStateUnknown); ok {
		given = missed.Obj
	}
	r, _ := given.(*resource)
	return r
}

// tell passes a change on; before is nil for one that is new, after for one that is gone.
func (f *feed) tell(before, after *resource) {
	of := cmp.Or(after, before)
	if of == nil || before != nil && after != nil && before.ResourceVersion == after.ResourceVersion {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for who := range f.followers[of.Namespace] {
		if who.name == nil || *who.name == of.Name {
			who.see(before, after)
		}
	}
}

// see is told of a change, and keeps what it means for its application: one that is no longer for it is gone.
func (w *follower) see(before, after *resource) {
	had, has := before != nil && before.isFor(w.appID), after != nil && after.isFor(w.appID)
	switch {
	case had && has:
		w.push(event{after, operatorv1.ResourceEventType_UPDATED})
	case has:
		w.push(event{after, operatorv1.ResourceEventType_CREATED})
	case had:
		w.push(event{before, operatorv1.ResourceEventType_DELETED})
	}
}

func (w *follower) push(e event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isCut {
		return
	}
	if len(w.waiting) >= mostWaiting {
		w.isCut, w.waiting = true, nil
		w.cut()
	} else {
		w.waiting = append(w.waiting, e)
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take gives what waits; more is false when the follower was cut off.
func (w *follower) take() (events []event, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	events, w.waiting = w.waiting, nil
	return events, !w.isCut
}
